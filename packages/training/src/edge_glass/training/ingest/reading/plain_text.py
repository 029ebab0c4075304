"""Text files as they come: with a byte order mark or without, in UTF-8 or what `--encoding` names.

What can't be decoded arrives as lone surrogates (or as U+FFFD, from encodings other than UTF-8), so
that `texts.text_of` refuses the one text that holds it and not the whole file.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import IO

from edge_glass.encoders.files import DataError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def open_text(path: Path, encoding: str) -> IO[str]:
    """Opens a text file; line ends stay as they are.

    Raises:
        DataError: if it can't be opened, or Python does not know the encoding.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: can't be opened: {error.strerror}") from None
    found = next((name for mark, name in MARKS if head.startswith(mark)), encoding)
    # other codecs can't escape every fault
    errors = "surrogateescape" if found.startswith("utf-8") else "replace"
    try:
        return path.open(encoding=found, errors=errors, newline="")
    except LookupError:
        raise DataError(f"encoding is {encoding!r}, which Python does not know") from None


def decode(data: bytes, encoding: str) -> str:
    """Decodes a small text the way `open_text` does."""
    found = next((name for mark, name in MARKS if data.startswith(mark)), encoding)
    errors = "surrogateescape" if found.startswith("utf-8") else "replace"
    return data.decode(found, errors)
