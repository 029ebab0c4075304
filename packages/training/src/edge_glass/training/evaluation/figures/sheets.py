"""Contact sheets: retrieved images or captions, and answered questions, as PNG.

Colour *and* a mark show right and wrong, for readers who do not distinguish green from red. Equal
images give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageDraw

from edge_glass.fusion.sheets.contact_sheet import (
    FAINT,
    GAP,
    INK,
    RULE,
    Box,
    font,
    new_sheet,
    paste,
    save_sheet,
    write,
)

T = TypeVar("T")

_CELL = 132  # side of an image, in pixels
_FRAME = 4
_MARK = 15
_RIGHT, _WRONG = "#2e7d32", "#c62828"


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """A candidate that was found: an image or a caption, its score, and whether it is right."""

    content: Image.Image | str
    score: float
    right: bool
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """A query, which is a caption or an image, and its best candidates in order."""

    query: str | Image.Image
    results: Sequence[Retrieved]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A question about an image, the model's answer and the true one."""

    image: Image.Image
    question: str
    answer: str
    truth: str
    right: bool


def retrieval_sheet(path: Path, retrievals: Sequence[Retrieval], title: str) -> None:
    """Writes one row per query: the query, then the candidates with their scores.

    Args:
        path: PNG to write.
        retrievals: the rows; a `note` is drawn below the query, or next to the score of a candidate
            ("rank 17").
        title: headline.

    Raises:
        ValueError: There are no retrievals.
    """
    if not retrievals:
        raise ValueError(f"found no retrievals for {path.name}; expected at least one")
    columns = max(len(retrieval.results) for retrieval in retrievals)
    text_query = any(isinstance(retrieval.query, str) for retrieval in retrievals)
    query_width = 190 if text_query else _CELL
    line = _CELL + 22 + GAP
    top = 56
    width = GAP * 3 + query_width + columns * (_CELL + GAP)
    sheet, draw = new_sheet(width, top + len(retrievals) * line + 8, title)
    for row, retrieval in enumerate(retrievals):
        y = top + row * line
        note_height = 20 if retrieval.note else 0
        if isinstance(retrieval.query, str):
            box = (GAP, y, GAP + query_width, y + _CELL - note_height)
            bottom = write(draw, box, retrieval.query, 15, INK)
            note_y = bottom + 4
        else:
            paste(sheet, retrieval.query, (GAP, y, GAP + _CELL, y + _CELL))
            note_y = y + _CELL + 4
        draw.text((GAP, note_y), retrieval.note, FAINT, font(13))
        rule = GAP * 2 + query_width
        draw.line((rule, y, rule, y + _CELL), RULE, 1)
        for column, result in enumerate(retrieval.results):
            x = rule + GAP + column * (_CELL + GAP)
            _candidate(sheet, draw, (x, y, x + _CELL, y + _CELL), result)
    save_sheet(sheet, path)


def answers_sheet(path: Path, items: Sequence[Answered], title: str, columns: int = 4) -> None:
    """Writes one cell per question: image, question, answer and, if that is wrong, the truth.

    Raises:
        ValueError: There are no questions.
    """
    if not items:
        raise ValueError(f"found no answers for {path.name}; expected at least one")
    side, text_height = 208, 92
    top, cell_height = 56, side + text_height + GAP
    rows = -(-len(items) // columns)
    sheet, draw = new_sheet(GAP + columns * (side + GAP), top + rows * cell_height, title)
    for index, item in enumerate(items):
        x = GAP + index % columns * (side + GAP)
        y = top + index // columns * cell_height
        colour = _RIGHT if item.right else _WRONG
        paste(sheet, item.image, _inside((x, y, x + side, y + side), _FRAME))
        _frame(draw, (x, y, x + side, y + side), item.right)
        bottom = write(draw, (x, y + side + 6, x + side, y + side + 46), item.question, 14, INK)
        _mark(draw, x, bottom + 5, item.right)
        answer_box = (x + _MARK + 6, bottom + 3, x + side, bottom + 22)
        bottom = write(draw, answer_box, item.answer or "(no answer)", 15, colour)
        if not item.right:
            truth_box = (x, bottom + 2, x + side, y + side + text_height)
            write(draw, truth_box, f"truth: {item.truth}", 13, FAINT)
    save_sheet(sheet, path)


def _candidate(sheet: Image.Image, draw: ImageDraw.ImageDraw, box: Box, result: Retrieved) -> None:
    if isinstance(result.content, str):
        write(draw, _inside(box, 10), result.content, 13, INK)
    else:
        paste(sheet, result.content, _inside(box, _FRAME))
    _frame(draw, box, result.right)
    _mark(draw, box[0], box[3] + 5, result.right)
    draw.text(
        (box[0] + _MARK + 6, box[3] + 4), f"{result.score:.2f}  {result.note}", FAINT, font(13)
    )


def _inside(box: Box, margin: int) -> Box:
    return (box[0] + margin, box[1] + margin, box[2] - margin, box[3] - margin)


def _frame(draw: ImageDraw.ImageDraw, box: Box, right: bool) -> None:
    colour = _RIGHT if right else _WRONG
    draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=colour, width=_FRAME)


def _mark(draw: ImageDraw.ImageDraw, x: int, y: int, right: bool) -> None:
    """Draws a white tick or cross on a square of `_MARK` pixels, next to the image, not on it."""
    draw.rectangle((x, y, x + _MARK - 1, y + _MARK - 1), fill=_RIGHT if right else _WRONG)
    if right:
        draw.line([(x + 3, y + 7), (x + 6, y + 10), (x + 11, y + 4)], "white", 2, joint="curve")
    else:
        draw.line([(x + 4, y + 4), (x + 10, y + 10)], "white", 2)
        draw.line([(x + 10, y + 4), (x + 4, y + 10)], "white", 2)


def spread(items: Sequence[T], number: int) -> list[T]:
    """Returns up to `number` items at even distances, so that none is picked for its looks."""
    number = min(number, len(items))
    return [items[index * len(items) // number] for index in range(number)]
