"""dvc.yaml as the one declaration of a stage: its lists, and the hash of what they name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_glass.encoders.components import ConfigError
from edge_glass.training.params import Params, parse_params
from edge_glass.training.runtime.fingerprint import fingerprint
from edge_glass.training.runtime.pipeline import installed_source, look_up, read_pipeline

PIPELINE = """
vars:
  - src: packages/training/src/edge_glass/training
  - more.yaml
stages:
  align:
    cmd: edge-glass align
    deps:
      - ${src}/align
      - ${folder}/data
    params: [seed, 'align.${scale}', {other.yaml: [x]}]
    outs: [models/align, {models/cache: {cache: false}}]
    plots: [plots/align: {cache: false}]
"""


def test_placeholders_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "more.yaml").write_text("folder: somewhere")
    files = read_pipeline(tmp_path, {"scale": "tiny"})["align"]
    assert files.sources == ("packages/training/src/edge_glass/training/align",)
    assert files.inputs == ("somewhere/data", "other.yaml")
    assert files.params == ("seed", "align.tiny")
    assert files.outputs == ("models/align", "models/cache", "plots/align")
    with pytest.raises(ConfigError, match=r"stages\.align: 'scale' is not in params\.yaml"):
        read_pipeline(tmp_path, {})


def test_values_are_looked_up_by_their_dotted_name() -> None:
    values = {"align": {"tiny": {"steps": 3}}}
    assert look_up(values, "align.tiny.steps", where="p") == 3
    with pytest.raises(ConfigError, match=r"^p: 'align\.tiny\.rate' .*no 'rate'"):
        look_up(values, "align.tiny.rate", where="p")


def parsed(params: dict[str, Any], path: str, value: Any) -> Params:
    table: Any = params
    *folders, last = path.split(".")
    for name in folders:
        table = table[name]
    table[last] = value
    return parse_params(params, where="p")


def test_the_hash_follows_the_params_of_the_stage(project: Path, params: dict[str, Any]) -> None:
    stages = ("encode", "align", "vlm_qa")

    def hashes(given: Params) -> dict[str, str]:
        return {stage: fingerprint(given, stage) for stage in stages}

    before = hashes(parse_params(params, where="p"))
    assert len(set(before.values())) == 3
    for path, value, changed in (
        ("align.tiny.steps", 13, {"align"}),
        ("poolings.attention.dropout", 0.2, {"align", "vlm_qa"}),
        ("fusions.gated.num_heads", 4, set()),  # not chosen
        ("evaluate_align.tiny.block_size", 5, set()),
        ("num_threads", 2, set(stages)),
    ):
        after = hashes(parsed(params, path, value))
        assert {stage for stage in stages if after[stage] != before[stage]} == changed
        before = after
    (project / "dvc.yaml").unlink()  # without it, everything counts
    one = hashes(parsed(params, "evaluate_align.tiny.block_size", 6))
    two = hashes(parsed(params, "evaluate_align.tiny.block_size", 7))
    assert all(one[stage] != two[stage] for stage in stages)


def test_the_hash_follows_the_sources_of_the_stage(
    project: Path, params: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`encode` must not start from the beginning when code of `align` changes."""
    copy = tmp_path_factory.mktemp("copy") / "training"
    shutil.copytree(installed_source("x/edge_glass/training"), copy)
    given = parse_params(params, where="p")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "edge_glass.training.runtime.fingerprint.installed_source",
            lambda name: (
                copy / name.partition("edge_glass/training/")[2]
                if "edge_glass/training/" in name
                else installed_source(name)
            ),
        )
        before = {stage: fingerprint(given, stage) for stage in ("encode", "align")}
        path = copy / "align/config.py"
        path.write_text(path.read_text() + "# changed\n")
        assert fingerprint(given, "encode") == before["encode"]
        assert fingerprint(given, "align") != before["align"]


@pytest.mark.parametrize("declared", [True, False])
def test_the_hash_follows_every_input_of_the_stage(
    project: Path, params: dict[str, Any], declared: bool
) -> None:
    """An aligned model with other weights and the same config must not be resumed over."""
    if not declared:
        (project / "dvc.yaml").unlink()
    weights = project / "models/align/model.safetensors"
    features = project / "artifacts/features/captions/train/vision-00000.npy"
    for path in (weights, features):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"a")
    given, stages = parse_params(params, where="p"), ("encode", "align", "vlm_qa")
    before = {stage: fingerprint(given, stage) for stage in stages}
    weights.write_bytes(b"bb")
    changed = [stage for stage in stages if fingerprint(given, stage) != before[stage]]
    assert changed == ["vlm_qa"]
    features.write_bytes(b"bb")
    changed = [stage for stage in stages if fingerprint(given, stage) != before[stage]]
    assert changed == ["align", "vlm_qa"]
