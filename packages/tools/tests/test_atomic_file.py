from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_glass.tools.atomic_file import FileRefusedError, replace_file, write_file


def test_backups_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"1")
    assert replace_file(path, b"1", b"2").name == "a.ipynb.bak"
    assert replace_file(path, b"2", b"3").name == "a.ipynb.bak2"
    contents = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert contents == {"a.ipynb": b"3", "a.ipynb.bak": b"1", "a.ipynb.bak2": b"2"}


def test_a_read_only_file_is_refused_even_for_root(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"1")
    path.chmod(0o444)
    with pytest.raises(FileRefusedError, match="read-only"):
        replace_file(path, b"1", b"2")
    assert [each.name for each in tmp_path.iterdir()] == ["a.ipynb"]


def test_a_file_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"somebody's")
    with pytest.raises(FileRefusedError, match="changed by someone else"):
        replace_file(path, b"1", b"2")
    assert path.read_bytes() == b"somebody's"


def test_a_failed_write_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileRefusedError, match="No space left on device"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.ipynb"]


def test_mode_and_link_are_kept(tmp_path: Path) -> None:
    path, link = tmp_path / "a.ipynb", tmp_path / "link.ipynb"
    path.write_bytes(b"1")
    path.chmod(0o640)
    link.symlink_to(path)
    write_file(link, b"2")
    assert link.is_symlink()
    assert path.read_bytes() == b"2"
    assert path.stat().st_mode & 0o777 == 0o640
