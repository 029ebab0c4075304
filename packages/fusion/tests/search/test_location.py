from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_glass.fusion.search.location import index_location


@pytest.fixture
def read_only(image_folder: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder that can't be written; root may write anywhere, and becomes nobody for the test."""
    for folder in [*tmp_path.parents[:2], tmp_path, image_folder]:
        folder.chmod(0o755)
    image_folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield image_folder
    if root:
        os.seteuid(0)
    image_folder.chmod(0o755)


def test_inside_the_folder_or_where_it_is_asked_for(image_folder: Path) -> None:
    place = index_location(image_folder)
    assert place.read == place.write == image_folder / ".edge_glass_index"
    chosen = index_location(image_folder, Path("elsewhere"))
    assert chosen.read == chosen.write == Path("elsewhere")
    assert not place.is_cache
    assert not chosen.is_cache


def test_a_folder_that_can_not_be_written_has_its_index_in_the_cache(
    read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = index_location(read_only)
    assert place.is_cache
    assert place.write.parent == tmp_path / "cache" / "edge-glass" / "index"
    assert place.read == read_only / ".edge_glass_index"  # what somebody left there is read
    assert index_location(read_only / "more" / "..").write == place.write
    assert index_location(read_only / "more").write != place.write


def test_without_a_home_there_is_no_cache(read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "~no_such_user/cache")
    place = index_location(read_only)
    assert not place.is_cache
    assert place.write == read_only / ".edge_glass_index"


def test_the_cache_is_read_once_it_is_there(
    read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    written = index_location(read_only).write
    if os.getuid() == 0:
        os.seteuid(0)
    written.mkdir(parents=True)
    (written / "model.safetensors").touch()
    (tmp_path / "cache").chmod(0o755)
    if os.getuid() == 0:
        os.seteuid(65534)
    assert index_location(read_only).read == written
