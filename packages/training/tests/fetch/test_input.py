"""The output folder: files are replaced completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_glass.training.fetch.input import replacing


def test_replacing_leaves_the_old_file_on_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "file") as path:
            path.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
