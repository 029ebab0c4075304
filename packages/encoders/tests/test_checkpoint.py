"""Checkpoints: canonical bytes, whole after a kill, and strict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edge_glass.encoders.checkpoint import (
    CheckpointError,
    check_tensors,
    load_checkpoint,
    save_checkpoint,
)

CONFIG = {"name": "tést", "dims": [8, 4], "rate": 0.1, "none": None}


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "b.weight": torch.randn(3, 4, generator=generator),
        "a": torch.arange(5),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "scalar": torch.tensor(2.5),
        "turned": torch.randn(4, 3, generator=generator).T,
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "new" / "model", CONFIG, tensors(), {"vocab.txt": b"a\nb"})
    config, loaded = load_checkpoint(tmp_path / "new" / "model")
    assert config == CONFIG
    assert set(loaded) == set(tensors())
    for name, value in tensors().items():
        assert loaded[name].dtype == value.dtype
        assert torch.equal(loaded[name], value)
    files = contents(tmp_path / "new" / "model")
    assert set(files) == {"config.json", "model.safetensors", "vocab.txt"}
    assert files["vocab.txt"] == b"a\nb"
    assert json.loads(files["config.json"]) == CONFIG


def test_equal_input_gives_equal_bytes_in_any_order_and_any_process(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", CONFIG, tensors())
    backwards = dict(reversed(tensors().items()))
    save_checkpoint(tmp_path / "b", dict(reversed(CONFIG.items())), backwards)
    code = (
        "import sys, runpy; m = runpy.run_path(sys.argv[1]);"
        "m['save_checkpoint'](sys.argv[2], m['CONFIG'], m['tensors']())"
    )
    subprocess.run(
        [sys.executable, "-c", code, __file__, str(tmp_path / "c")],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_a_folder_is_replaced_and_foreign_files_stay(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, CONFIG, tensors())
    (tmp_path / "notes.md").write_text("mine")
    save_checkpoint(tmp_path, {"v": 2}, {"x": torch.zeros(1)})
    assert load_checkpoint(tmp_path)[0] == {"v": 2}
    assert set(contents(tmp_path)) == {"config.json", "model.safetensors", "notes.md"}


def test_a_kill_between_any_two_steps_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"v": 1}, {"x": torch.tensor(1.0)})
    # the steps are: config.json goes, model.safetensors comes, config.json comes
    (tmp_path / "config.json").unlink()
    config, loaded = load_checkpoint(tmp_path)
    assert (config["v"], loaded["x"]) == (1, 1.0)
    save_checkpoint(tmp_path, {"v": 2}, {"x": torch.tensor(2.0)})
    (tmp_path / "config.json").unlink()
    config, loaded = load_checkpoint(tmp_path)
    assert (config["v"], loaded["x"]) == (2, 2.0)


KILLED = """
import sys, torch
from edge_glass.encoders.checkpoint import save_checkpoint
for v in range(1, 100_000):
    save_checkpoint(sys.argv[1], {"v": v}, {"x": torch.full((20_000,), float(v))})
    print(v, flush=True)
"""


def test_killed_at_any_moment_a_whole_checkpoint_is_left(tmp_path: Path) -> None:
    for times in (1, 4):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "m")],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        for _ in range(5 * times):
            last = int(process.stdout.readline())
        process.kill()
        rest = process.communicate()[0].split()
        last = int(rest[-1]) if rest else last
        config, loaded = load_checkpoint(tmp_path / "m")
        assert config["v"] in (last, last + 1)
        assert (loaded["x"] == config["v"]).all()


FULL_DISK = """
import resource, signal, sys, torch
from edge_glass.encoders.checkpoint import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
save_checkpoint(sys.argv[1], {"v": 2}, {"x": torch.zeros(100_000)})
"""


def test_no_room_on_the_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"v": 1}, {"x": torch.tensor(1.0)})
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 1
    assert f"can't write {tmp_path / 'model.safetensors'}" in done.stderr
    assert "Nothing was left half-written" in done.stderr
    assert load_checkpoint(tmp_path)[0] == {"v": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_missing_and_broken_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.safetensors does not exist"):
        load_checkpoint(tmp_path / "nowhere")
    save_checkpoint(tmp_path, CONFIG, tensors())
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(CheckpointError, match="broken checkpoint"):
        load_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(whole)
    for text, message in (
        ("{", "broken checkpoint"),
        ("[" * 100_000, "broken checkpoint .*recursion"),
        ("[]", "holds a list"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(tmp_path)


def test_a_folder_of_a_stage_without_data_names_the_reason(tmp_path: Path) -> None:
    (tmp_path / "nothing_to_do.tsv").write_text("the data set has no questions\n")
    with pytest.raises(
        CheckpointError, match="no model, because the data set has no questions: ad"
    ):
        load_checkpoint(tmp_path)


def test_a_config_that_is_no_json_or_a_taken_name_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_checkpoint(folder, {"loss": float("nan")}, {})
    with pytest.raises(ValueError, match=r"\['config\.json'\], which the checkpoint writes"):
        save_checkpoint(folder, {}, {}, {"config.json": b""})
    assert not folder.exists()


def test_every_fault_of_the_tensors_is_listed() -> None:
    expected = {"0.weight": torch.zeros(3, 2), "0.bias": torch.zeros(3), "1.bias": torch.zeros(3)}
    check_tensors(expected, {name: value + 1 for name, value in expected.items()}, where="models/x")
    wrong = {"0.weight": torch.zeros(2, 3), "0.bias": torch.zeros(3), "2.new": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        check_tensors(expected, wrong, where="models/x")
    assert str(caught.value).splitlines() == [
        "models/x does not fit the model that its config describes:",
        "  missing: 1.bias",
        "  extra: 2.new",
        "  shape of 0.weight: found (2, 3), expected (3, 2)",
    ]


WRITER = """
import sys, torch
from edge_glass.encoders.checkpoint import load_checkpoint, save_checkpoint
for v in range(int(sys.argv[2]), int(sys.argv[2]) + 30):
    save_checkpoint(sys.argv[1], {"v": v}, {"x": torch.full((20_000,), float(v))})
    config, loaded = load_checkpoint(sys.argv[1])
    assert (loaded["x"] == config["v"]).all()
"""


def test_two_writers_of_one_folder_both_succeed(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "m"), str(first)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for first in (100, 200)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert set(contents(tmp_path / "m")) == {"config.json", "model.safetensors"}


def test_tensors_of_a_different_type_are_refused() -> None:
    weight = torch.ones(2)
    check_tensors({"a": weight}, {"a": weight}, where="model")
    with pytest.raises(CheckpointError, match=r"type of a: found torch\.bfloat16, expected"):
        check_tensors({"a": weight}, {"a": weight.bfloat16()}, where="model")
