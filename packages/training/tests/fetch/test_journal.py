"""The journal after a kill at any byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_glass.training.fetch.journal import Journal, decode, encode

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
        # the torn end is cut off, so what is appended now can be read
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
def test_damaged_lines(line: bytes) -> None:
    assert decode(line) is None
