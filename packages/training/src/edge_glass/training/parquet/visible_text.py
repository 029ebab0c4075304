"""Texts that show nothing: blanks, zero-width characters, marks of direction and order."""

from __future__ import annotations

import unicodedata

INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Mn")  # categories that show nothing alone
BLANKS = "\u115f\u1160\u3164\uffa0\u2800"  # letters that show nothing


def is_invisible(text: str) -> bool:
    """Returns whether a text has no character that shows."""
    return all(
        character in BLANKS or unicodedata.category(character) in INVISIBLE for character in text
    )
