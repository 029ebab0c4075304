"""Where two runs part: named by step, file, tensor and parameter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edge_glass.encoders.components import ConfigError
from edge_glass.training.compare.divergence import describe, equal_files, parameter_differences

OUTPUTS = ("plots/align", "models/align")


def write_run(folder: Path, losses: list[float], weights: dict[str, torch.Tensor]) -> Path:
    curve = folder / "plots/align/plots/metrics/loss.tsv"
    curve.parent.mkdir(parents=True)
    lines = [f"{10 * number}\t{value}" for number, value in enumerate(losses, 1)]
    curve.write_text("\n".join(["step\tloss", *lines]) + "\n")
    (folder / "models/align").mkdir(parents=True)
    save_file(weights, folder / "models/align/model.safetensors")
    return folder


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(3, 4, generator=generator) for name in ("pooling.query", "head")}


def test_equal_runs_have_nothing_to_say(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, [3.0, 2.0], weights()) for name in "ab"]
    assert describe(*runs, OUTPUTS) == []


def test_the_first_step_comes_first_then_files_then_tensors(tmp_path: Path) -> None:
    changed = weights()
    changed["head"][1, 2] += 0.5
    one = write_run(tmp_path / "a", [3.0, 2.0, 1.0], weights())
    other = write_run(tmp_path / "b", [3.0, 2.5, 1.5], changed)
    (other / "models/align/config.json").write_text("{}")
    assert describe(one, other, OUTPUTS) == [
        "first at step 20: loss 2.0 and 2.5",
        f"models/align/config.json: only in {other}",
        "plots/align/plots/metrics/loss.tsv: differs",
        "models/align/model.safetensors: differs",
        "models/align/model.safetensors: tensor head: 1 of 12 values, by 0.5 at the most",
    ]


def test_a_run_that_stopped_earlier_is_seen(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", [3.0, 2.0], weights())
    other = write_run(tmp_path / "b", [3.0], weights())
    assert describe(one, other, OUTPUTS)[0] == "first at step 20: loss 2.0 and missing"


def test_tensors_of_other_names_shapes_and_kinds(tmp_path: Path) -> None:
    changed = {"pooling.query": torch.randn(4, 3), "heads": weights()["head"]}
    one = write_run(tmp_path / "a", [3.0], weights())
    other = write_run(tmp_path / "b", [3.0], changed)
    lines = "\n".join(describe(one, other, OUTPUTS))
    assert f"tensor head only in {one}" in lines
    assert f"tensor heads only in {other}" in lines
    assert "tensor pooling.query: (3, 4) torch.float32 and (4, 3) torch.float32" in lines


def test_a_difference_in_the_last_byte_of_a_long_file(tmp_path: Path) -> None:
    for name, end in (("a", b"x"), ("b", b"y")):
        (tmp_path / name).write_bytes(bytes(3 << 20) + end)
    assert not equal_files(tmp_path / "a", tmp_path / "b")
    assert equal_files(tmp_path / "a", tmp_path / "a")


def test_parameters_are_named_by_their_place(tmp_path: Path) -> None:
    for name, text in (("a", "seed: 0\nalign: {steps: 3}\n"), ("b", "seed: 0\nalign: {rate: 1}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.yaml").write_text(text)
    assert parameter_differences(tmp_path / "a", tmp_path / "b") == [
        "parameter align.steps: 3 and missing",
        "parameter align.rate: missing and 1",
    ]
    with pytest.raises(ConfigError, match="no such file"):
        parameter_differences(tmp_path, tmp_path / "b")
