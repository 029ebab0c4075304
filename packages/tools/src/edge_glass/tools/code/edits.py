"""Changes of a text by places: all characters outside the changed spans stay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Edit:
    """Replace `text[start:end]` by `new`; `start == end` inserts."""

    start: int
    end: int
    new: str


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return `text` with the edits applied. An edit that overlaps an earlier one is dropped."""
    pieces, done = [], 0
    for edit in sorted(set(edits)):
        if edit.start < done:
            continue
        pieces += [text[done : edit.start], edit.new]
        done = edit.end
    return "".join([*pieces, text[done:]])
