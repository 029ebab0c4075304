"""Texts as they are found, brought to one clean string or refused with a reason."""

from __future__ import annotations

import math
from datetime import date, time
from decimal import Decimal
from typing import Any

from edge_glass.training.ingest.reading.records import RowProblem
from edge_glass.training.parquet.visible_text import is_invisible

MAX_TEXT = 100_000  # characters; `prepare` has its own, smaller limit


def text_of(value: Any, name: str) -> str:
    """Returns a value as clean text; numbers, truth values and dates become text.

    Args:
        value: from a cell or a JSON file.
        name: of the text, such as "caption", for the reason.

    Raises:
        RowProblem: "empty_NAME", "invisible_NAME", "not_utf8", "nul_character", "wrong_type" or
            "long_NAME".
    """
    if is_missing(value):
        raise RowProblem(f"empty_{name}", f"no {name}")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise RowProblem("not_utf8", f"{name} {value[:40]!r}: {error.reason}") from None
    if not isinstance(value, str):
        value = _written(value, name)
    # what can't be decoded arrives as lone surrogates; `\ud800` of a JSON file does as well
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise RowProblem("not_utf8", f"{name} {value[:40]!r} is not valid Unicode") from None
    if "\ufffd" in value:
        raise RowProblem("not_utf8", f"{name} {value[:40]!r} holds U+FFFD, a lost character")
    if "\0" in value:
        raise RowProblem("nul_character", f"{name} {value[:40]!r} holds the character NUL")
    text = str(value).strip().strip("\ufeff").strip()
    if not text:
        raise RowProblem(f"empty_{name}", f"{name} {value[:40]!r}")
    if len(text) > MAX_TEXT:
        raise RowProblem(f"long_{name}", f"{len(text)} characters, at most {MAX_TEXT}")
    if is_invisible(text):
        raise RowProblem(f"invisible_{name}", f"{name} {text[:40]!a} shows nothing")
    return text


def is_missing(value: Any) -> bool:
    """Returns whether a cell is empty or blank; tables of pandas have NaN in empty cells."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _written(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas makes a column of integers with an empty cell floats
    if isinstance(value, int) or (isinstance(value, float | Decimal) and math.isfinite(value)):
        try:
            return str(value)
        except ValueError:  # an integer of more digits than Python writes
            raise RowProblem("wrong_type", f"{name} is a number of thousands of digits") from None
    if isinstance(value, date | time):
        return value.isoformat()
    found = str(value) if isinstance(value, float | Decimal) else type(value).__name__
    raise RowProblem("wrong_type", f"{name} is {found}, expected a text")


def texts_of(value: Any, name: str) -> tuple[list[str], list[RowProblem]]:
    """Returns the clean texts of a value that is one text or a list of texts, and the faults."""
    kept: list[str] = []
    faults: list[RowProblem] = []
    for each in value if isinstance(value, list | tuple) else [value]:
        try:
            # COCO's sentences are {"raw": text, "tokens": [...]}
            raw = isinstance(each, dict) and "raw" in each
            kept.append(text_of(each["raw"] if raw else each, name))
        except RowProblem as fault:
            faults.append(fault)
    if not kept and not faults:
        faults.append(RowProblem(f"empty_{name}", f"an empty list of {name}s"))
    return kept, faults
