"""Packs: images on the disk until their shard is written."""

from __future__ import annotations

import os
from pathlib import Path

from edge_glass.training.fetch.packs import Packs, remove_packs, shards_with_packs


def read(folder: Path, location: tuple[str, int], size: int) -> bytes:
    return (folder / location[0]).read_bytes()[location[1] : location[1] + size]


def test_packs_keep_what_they_are_given(tmp_path: Path) -> None:
    packs = Packs(tmp_path, 1)
    images = [(number % 3, os.urandom(number)) for number in range(30)]
    locations = packs.append(images[:20]) + packs.append(images[20:])
    packs.close()
    for (_, body), location in zip(images, locations, strict=True):
        assert read(tmp_path, location, len(body)) == body
    assert shards_with_packs(tmp_path) == {0, 1, 2}
    remove_packs(tmp_path, [0, 2])
    assert shards_with_packs(tmp_path) == {1}


def test_a_deleted_pack_is_started_again(tmp_path: Path) -> None:
    packs = Packs(tmp_path, 1)
    packs.append([(0, b"first")])
    remove_packs(tmp_path, [0])
    (location,) = packs.append([(0, b"second")])
    packs.close()
    assert read(tmp_path, location, 6) == b"second"


def test_many_packs_need_few_open_files(tmp_path: Path) -> None:
    packs = Packs(tmp_path, 1)
    locations = packs.append([(number, b"%d" % number) for number in range(100)])
    assert len(packs._open) <= 64
    locations += packs.append([(number, b"again") for number in range(100)])
    packs.close()
    assert read(tmp_path, locations[7], 1) == b"7"
    assert read(tmp_path, locations[107], 5) == b"again"
