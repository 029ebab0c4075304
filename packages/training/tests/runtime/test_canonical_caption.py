"""When captions count as equal."""

from __future__ import annotations

import unicodedata

import pytest

from edge_glass.training.runtime.canonical_caption import canonical_caption, caption_number


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A red disc", "a RED disc"),
        ("a red\u00a0 disc ", "a red disc"),
        ("a red disc.", "a red disc"),
        ("a red disc!?", "a red disc…"),
        ("红苹果。", "红苹果"),
        ("caf\u00e9", unicodedata.normalize("NFD", "café")),
        ("STRASSE", "Straße"),
    ],
)
def test_what_changes_no_meaning_is_left_out(one: str, other: str) -> None:
    assert canonical_caption(one) == canonical_caption(other)
    assert caption_number(one) == caption_number(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("C#", "C"), ("1.5", "15"), ("a, b", "a b"), ("?", "!"), ("photo (2)", "photo (3)")],
)
def test_what_changes_the_meaning_stays(one: str, other: str) -> None:
    assert canonical_caption(one) != canonical_caption(other)
    assert caption_number(one) != caption_number(other)


def test_a_caption_of_punctuation_keeps_it() -> None:
    assert canonical_caption(" ?! ") == "?!"
