"""The stages one after another on tiny data: learning, repeating, and going on after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from edge_glass.encoders.components import ConfigError
from edge_glass.training.commands import _parse, _parse_with_device
from edge_glass.training.features.cache import read_index, vision_features
from edge_glass.training.params import load_params
from edge_glass.training.stages import (
    align,
    encode,
    evaluate_align,
    evaluate_vlm_qa,
    prepare,
    vlm_qa,
)

STAGES = {"align": align, "vlm_qa": vlm_qa}
StopAt = Callable[[int], AbstractContextManager[None]]


pytestmark = pytest.mark.usefixtures("restore_torch")


def tree(*folders: str) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_the_whole_pipeline_runs_and_repeats(project: Path) -> None:
    params = load_params(project / "params.yaml")
    seen = []
    for _ in range(2):
        for module in (prepare, encode, align, evaluate_align, vlm_qa, evaluate_vlm_qa):
            module.run(params)
        seen.append(tree("artifacts/features", "models", "metrics", "plots", "predictions"))
    assert seen[0].keys() == seen[1].keys()
    assert [name for name in seen[0] if seen[0][name] != seen[1][name]] == []

    retrieval = json.loads(Path("metrics/evaluate_align.json").read_text())["val"]
    names = {"16", "8", "untruncated", "kept", "chance", "R@1_interval", "codes", "among_all"}
    assert set(retrieval) == names
    assert retrieval["untruncated"] == retrieval["16"]
    assert retrieval["kept"]["16"] == {"i2t": 1.0, "t2i": 1.0}
    kept = retrieval["8"]["i2t"]["R@1"] / retrieval["16"]["i2t"]["R@1"]
    # from rounded numbers
    assert retrieval["kept"]["8"]["i2t"] == pytest.approx(kept, abs=2e-3)
    assert retrieval["chance"]["i2t"]["R@1"] == 1 / 8
    assert 0 <= retrieval["16"]["i2t"]["R@1"] <= retrieval["16"]["i2t"]["R@5"] <= 1
    answers = json.loads(Path("metrics/evaluate_vlm_qa.json").read_text())["val"]
    assert set(answers["by_type"]) == {"colour", "exists"}
    # "is it a disc?" is always yes, and one colour of eight is the majority's
    assert answers["majority"] == pytest.approx((1 + 1 / 8) / 2, abs=1e-4)
    lines = Path("predictions/vlm_qa/val.jsonl").read_text().splitlines()
    assert len(lines) == 32
    right = sum(json.loads(line)["right"] for line in lines)
    assert answers["accuracy"] == pytest.approx(right / 32, abs=1e-4)
    assert not Path("artifacts/state/align").exists()


def test_retrieval_is_the_same_at_any_batch_and_block_size(
    encoded: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    align.run(load_params(encoded / "params.yaml"))
    seen = set()
    for batch, block_size in ((256, 1024), (1, 5), (7, 1)):
        monkeypatch.setattr(evaluate_align, "BATCH", batch)
        params["evaluate_align"]["tiny"]["block_size"] = block_size
        (encoded / "params.yaml").write_text(yaml.safe_dump(params))
        evaluate_align.run(load_params(encoded / "params.yaml"))
        seen.add(Path("metrics/evaluate_align.json").read_bytes())
    assert len(seen) == 1


def test_features_are_the_encoder_s(encoded: Path) -> None:
    from edge_glass.encoders.images import decode_image
    from tiny_pixmo import caption_rows

    params = load_params(encoded / "params.yaml")
    encoder = params.vision_encoder.config.build(image_size=64)
    rows = caption_rows("val", range(3, 5))
    with torch.inference_mode():
        images = [decode_image(row["image"]["bytes"]) for row in rows]
        expected = encoder(encoder.preprocess(images)).half().float()
    found = torch.from_numpy(np.array(vision_features("captions", "val"))).float()
    # one unit in the last place of float16 at the features' size: batches add in another order
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
    assert read_index().vision_width == encoder.width


@pytest.mark.parametrize("stage", STAGES)
def test_interrupted_anywhere_equals_uninterrupted(
    stage: str, encoded: Path, stop_at: StopAt
) -> None:
    params = load_params(encoded / "params.yaml")
    if stage == "vlm_qa":
        align.run(params)
    outputs = (f"models/{stage}", f"plots/{stage}")
    STAGES[stage].run(params)
    whole = tree(*outputs)

    for step in (2, 8, 10):  # before, between and after the saved states at 3, 6 and 9
        with stop_at(step):
            STAGES[stage].run(params)
    assert Path(f"artifacts/state/{stage}/model.safetensors").is_file()
    STAGES[stage].run(params)
    assert tree(*outputs) == whole


def test_a_state_of_other_options_is_not_resumed(
    encoded: Path, params: dict[str, Any], stop_at: StopAt
) -> None:
    with stop_at(8):
        align.run(load_params(encoded / "params.yaml"))
    params["align"]["tiny"]["caption_dropout"] = 0.0
    (encoded / "params.yaml").write_text(yaml.safe_dump(params))
    align.run(load_params(encoded / "params.yaml"))
    resumed = tree("models/align")
    align.run(load_params(encoded / "params.yaml"))
    assert tree("models/align") == resumed


def test_the_command_names_place_and_remedy(project: Path, params: dict[str, Any]) -> None:
    params["fusion"] = "gatd"
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    code = "from edge_glass.fusion.app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "prepare"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "params.yaml: fusions: fusion is 'gatd'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "artifacts/prepared").exists()


def test_all_missing_keys_are_named_with_the_given_file(project: Path) -> None:
    (project / "mine.yaml").write_text("seed: 0\n")
    code = "from edge_glass.fusion.app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "prepare", "--params", "mine.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("edge-glass: mine.yaml: scale, num_threads, device, ")
    assert done.stderr.rstrip().endswith("missing; add it")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_stops_the_stages_that_use_it(
    project: Path, params: dict[str, Any]
) -> None:
    params["device"] = "cuda"
    assert _parse(params, "p").device == "cuda"  # of `prepare`
    with pytest.raises(ConfigError, match=r"^p: device is cuda, but torch sees no GPU: set device"):
        _parse_with_device(params, "p")
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    code = "from edge_glass.fusion.app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "align"], capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("edge-glass: params.yaml: device is cuda, but torch sees no GPU")


def test_a_missing_cache_names_the_stage_to_run(project: Path) -> None:
    prepare.run(load_params(project / "params.yaml"))
    with pytest.raises(ValueError, match=r"run `dvc repro encode` first"):
        read_index()
