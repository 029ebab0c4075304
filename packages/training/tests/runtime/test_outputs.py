"""Outputs appear completely or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

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
