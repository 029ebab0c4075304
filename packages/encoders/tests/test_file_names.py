from __future__ import annotations

import os

import pytest

from edge_glass.encoders.file_names import is_hidden, shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"a dog.png", "a dog.png"),
        ("Café 中 😀.png".encode(), "Café 中 😀.png"),
        (b"caf\xe9.png", "caf\\xe9.png"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"two\nlines\x1b[31m", "two\\nlines\\x1b[31m"),
    ],
)
def test_a_name_is_shown_as_one_line(name: bytes, text: str) -> None:
    assert shown(os.fsdecode(name)) == text
    assert shown(os.fsdecode(name)).encode()


def test_a_lone_surrogate_is_escaped() -> None:
    assert shown("\ud800") == "\\ud800"


@pytest.mark.parametrize(
    "name", ["@eaDir", "#recycle", "$RECYCLE.BIN", ".Trash-1000", "._a.png", ".x.tmp", "a.png.part"]
)
def test_what_other_programs_leave_behind_is_hidden(name: str) -> None:
    assert is_hidden(name)
    assert not is_hidden("a.png")
