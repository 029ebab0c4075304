"""Outputs appear whole or not at all, and one run of a stage at a time."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from edge_glass.training.runtime.lock import stage_lock
from edge_glass.training.runtime.outputs import output_folder, write_json


def test_a_folder_is_replaced_when_the_work_succeeds(tmp_path: Path) -> None:
    final = tmp_path / "out"
    for text in ("one", "two"):
        with output_folder(final) as work:
            (work / "file").write_text(text)
            assert not (final / "file").exists() or (final / "file").read_text() == "one"
        assert (final / "file").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    final = tmp_path / "out"
    with output_folder(final) as work:
        (work / "file").write_text("one")

    def fail() -> None:
        with output_folder(final) as work:
            (work / "file").write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"no space left .* while writing .*out; .*free some space"):
        fail()
    assert (final / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_json_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "sub" / "a.json", {"b": 1.5, "a": "ä"})
    assert (tmp_path / "sub" / "a.json").read_bytes() == '{\n  "b": 1.5,\n  "a": "ä"\n}\n'.encode()


def test_a_second_run_is_refused_and_a_dead_one_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hold = (
        "import sys, time\n"
        "from edge_glass.training.runtime.lock import stage_lock\n"
        "with stage_lock('align'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        owner = f"stage align is already running here \\(process {process.pid} on "
        with pytest.raises(BlockingIOError, match=owner), stage_lock("align"):
            pass
        with stage_lock("vlm_qa"):
            pass
        process.kill()
    with stage_lock("align"):
        pass
