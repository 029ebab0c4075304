"""`dvc.yaml`: what a choice or a changed source re-runs, and our own reader of it."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from edge_glass.training.runtime.pipeline import read_pipeline
from import_graph import ROOT
from pipeline_stages import BEFORE_ALIGN, STAGES, resolved


def look_up(params: dict[str, Any], path: str) -> Any:
    value: Any = params
    for key in path.split("."):
        value = value[key]
    return value


def reruns(change: dict[str, Any], tmp_path: Path) -> set[str]:
    """The stages that run again after a change: those whose parameters differ, and all behind."""
    before = yaml.safe_load((ROOT / "params.yaml").read_text())
    after = copy.deepcopy(before)
    for path, value in change.items():
        *folders, last = path.split(".")
        (look_up(after, ".".join(folders)) if folders else after)[last] = value
    old, new = resolved(before, tmp_path), resolved(after, tmp_path)
    changed = {
        name
        for name in new
        if old[name].get("params") != new[name].get("params")
        or any(look_up(before, p) != look_up(after, p) for p in new[name].get("params", []))
    }
    outputs = {
        name: [
            item if isinstance(item, str) else next(iter(item))
            for kind in ("outs", "metrics", "plots")
            for item in stage.get(kind, [])
        ]
        for name, stage in new.items()
    }
    for name in STAGES:  # in the order of the pipeline
        needed = new[name]["deps"]
        if any(dep.startswith(tuple(outputs[done])) for done in changed for dep in needed):
            changed.add(name)
    return changed


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fusion": "gated"}, {"vlm_qa", "evaluate_vlm_qa", "notebooks"}),
        ({"decoder": "qwen2_5_tiny"}, {"vlm_qa", "evaluate_vlm_qa", "notebooks"}),
        ({"fusions.gated.gate_init": 0.3}, set()),
        ({"launch": "ddp"}, {"vlm_qa", "evaluate_vlm_qa", "notebooks"}),
        ({"launches.ddp.num_processes": 4}, set()),
        ({"log_with": ["tensorboard"]}, set()),
        ({"evaluate_align.sample.block_size": 7}, {"evaluate_align"}),
        ({"pooling": "perceiver"}, set(STAGES) - BEFORE_ALIGN),
        ({"encode.sample.dtype": "float32"}, set(STAGES) - {"prepare", "prepare_samples"}),
        ({"features": "live"}, set(STAGES) - {"prepare", "prepare_samples"}),
        ({"vision_encoder": "clip_vit_l14_336"}, set(STAGES) - {"prepare"}),
        ({"seed": 1}, set(STAGES)),
    ],
)
def test_a_choice_reruns_what_depends_on_it(
    change: dict[str, Any], expected: set[str], tmp_path: Path
) -> None:
    assert reruns(change, tmp_path) == expected


def test_our_reader_of_the_pipeline_agrees_with_dvc(tmp_path: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    ours, stages = read_pipeline(ROOT, params), resolved(params, tmp_path)
    assert list(ours) == list(stages)
    for name, stage in stages.items():
        assert {*ours[name].sources, *ours[name].inputs} == set(stage["deps"])
        assert set(ours[name].params) == set(stage["params"])


@pytest.mark.parametrize(
    ("file", "before", "after", "changed"),
    [
        ("training/loop/optim.py", "beta2: float = 0.98", "beta2: float = 0.99", True),
        ("training/align/config.py", "collapse_steps: int = 200", "collapse_steps: int = 9", True),
        ("encoders/dual_encoder_config.py", "scale: float = 2.659", "scale: float = 3", True),
        ("encoders/perceiver.py", "num_layers: int = 2", "num_layers: int = 3", True),
        ("training/runtime/progress.py", "def say(", "def  say(", False),
        ("decoders/trm.py", "max_vocab: int = 8192", "max_vocab: int = 9000", False),
    ],
)  # fmt: skip
def test_a_changed_default_changes_the_status_of_align(
    file: str,
    before: str,
    after: str,
    changed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With DVC itself: `dvc repro` must not call a stage up to date whose code has changed."""
    for source in ROOT.glob("packages/*/src"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, tmp_path / source.relative_to(ROOT), ignore=ignored)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in (
        "artifacts/prepared/captions",
        "artifacts/features",
        "models/align",
        "plots/align",
    ):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "content").write_text(name)
    monkeypatch.chdir(tmp_path)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        repo.commit("align", force=True, allow_missing=True)
    with Repo(str(tmp_path)) as repo:
        assert repo.status(["align"]) == {}
    portion = file.partition("/")[0]
    path = tmp_path / f"packages/{portion}/src/edge_glass/{file}"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with Repo(str(tmp_path)) as repo:
        assert bool(repo.status(["align"])) == changed
