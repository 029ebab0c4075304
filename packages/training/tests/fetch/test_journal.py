"""The journal after kills at any byte, and packs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edge_glass.training.fetch.journal import Journal, decode, encode
from edge_glass.training.fetch.packs import Packs, pack_homes, remove_packs

RECORDS = [{"picture": number, "reason": "é\n" * number} for number in range(4)]


def written(path: Path) -> list[int]:
    with Journal(path) as journal:
        assert list(journal.replay()) == []
        return journal.append([encode(record) for record in RECORDS])


def replayed(path: Path) -> tuple[list[dict[str, Any]], int]:
    with Journal(path) as journal:
        return [record for _, record in journal.replay()], journal.damaged


def test_what_is_appended_comes_back(tmp_path: Path) -> None:
    offsets = written(tmp_path / "log")
    with Journal(tmp_path / "log") as journal:
        assert list(journal.replay()) == list(zip(offsets, RECORDS, strict=True))
        assert [journal.read(offset) for offset in offsets] == RECORDS
        (later,) = journal.append([encode({"picture": 9})])
        assert journal.read(later) == {"picture": 9}
        assert later > offsets[-1]


def test_a_kill_at_any_byte_tears_the_last_line_only(tmp_path: Path) -> None:
    ends = [*written(tmp_path / "log")[1:], (tmp_path / "log").stat().st_size]
    content = (tmp_path / "log").read_bytes()
    for size in range(len(content) + 1):
        (tmp_path / "torn").write_bytes(content[:size])
        whole = sum(end <= size for end in ends)
        assert replayed(tmp_path / "torn") == (RECORDS[:whole], 0)
        # the torn end is gone: what is appended now is read again
        with Journal(tmp_path / "torn") as journal:
            list(journal.replay())
            journal.append([encode({"picture": 9})])
        assert replayed(tmp_path / "torn") == ([*RECORDS[:whole], {"picture": 9}], 0)


def test_damage_in_the_middle_costs_one_line(tmp_path: Path) -> None:
    offsets = written(tmp_path / "log")
    content = bytearray((tmp_path / "log").read_bytes())
    content[offsets[1] + 15] ^= 1
    (tmp_path / "log").write_bytes(content)
    assert replayed(tmp_path / "log") == ([RECORDS[0], *RECORDS[2:]], 1)


@pytest.mark.parametrize("line", [b"", b"\n", b"x\n", b"00000000 {}\n", b"no newline"])
def test_lines_that_are_no_records(line: bytes) -> None:
    assert decode(line) is None


def read(folder: Path, place: tuple[str, int], size: int) -> bytes:
    return (folder / place[0]).read_bytes()[place[1] : place[1] + size]


def test_packs_keep_what_they_are_given(tmp_path: Path) -> None:
    packs = Packs(tmp_path, 1)
    pictures = [(number % 3, os.urandom(number)) for number in range(30)]
    places = packs.append(pictures[:20]) + packs.append(pictures[20:])
    packs.close()
    for (_, body), place in zip(pictures, places, strict=True):
        assert read(tmp_path, place, len(body)) == body
    assert pack_homes(tmp_path) == {0, 1, 2}
    remove_packs(tmp_path, [0, 2])
    assert pack_homes(tmp_path) == {1}


def test_a_pack_that_was_deleted_is_begun_anew(tmp_path: Path) -> None:
    packs = Packs(tmp_path, 1)
    packs.append([(0, b"first")])
    remove_packs(tmp_path, [0])
    (place,) = packs.append([(0, b"second")])
    packs.close()
    assert read(tmp_path, place, 6) == b"second"


def test_many_packs_need_few_open_files(tmp_path: Path) -> None:
    packs = Packs(tmp_path, 1)
    places = packs.append([(number, b"%d" % number) for number in range(100)])
    assert len(packs._open) <= 64
    places += packs.append([(number, b"again") for number in range(100)])
    packs.close()
    assert read(tmp_path, places[7], 1) == b"7"
    assert read(tmp_path, places[107], 5) == b"again"
