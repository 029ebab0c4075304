"""Contact sheets: retrieved pictures or captions, and answered questions, as PNG.

Drawn with PIL alone and its own font, so that the same pictures give the same bytes. Right and
wrong are told by colour *and* by a mark, for readers who see no difference between green and red.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from edge_glass.encoders.checkpoint import write_atomic

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Box = tuple[int, int, int, int]

_CELL = 132  # side of a picture, in pixels
_GAP = 14
_FRAME = 4
_MARK = 15
_INK, _FAINT, _RULE, _PAPER = "#1f1f1f", "#6b6b6b", "#dddddd", "#f3f3f3"
_RIGHT, _WRONG = "#2e7d32", "#c62828"


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """A candidate that was found: a picture or a caption, its score, and whether it is right."""

    content: Image.Image | str
    score: float
    right: bool


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """A query, a caption or a picture, and its best candidates in order."""

    query: str | Image.Image
    results: Sequence[Retrieved]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A question about a picture, the model's answer and the true one."""

    image: Image.Image
    question: str
    answer: str
    truth: str
    right: bool


def retrieval_sheet(path: Path, retrievals: Sequence[Retrieval], title: str) -> None:
    """Write a row a query: it stands left, the candidates follow with their scores.

    Args:
        path: PNG to write.
        retrievals: the rows; their ``note`` stands below the query ("rank 17").
        title: headline.

    Raises:
        ValueError: where there is nothing to draw.
    """
    if not retrievals:
        raise ValueError(f"found no retrievals for {path.name}; expected at least one")
    columns = max(len(retrieval.results) for retrieval in retrievals)
    text_query = any(isinstance(retrieval.query, str) for retrieval in retrievals)
    query_width = 190 if text_query else _CELL
    line = _CELL + 22 + _GAP
    top = 56
    width = _GAP * 3 + query_width + columns * (_CELL + _GAP)
    sheet, draw = _sheet(width, top + len(retrievals) * line + 8, title)
    for row, retrieval in enumerate(retrievals):
        y = top + row * line
        note_height = 20 if retrieval.note else 0
        if isinstance(retrieval.query, str):
            box = (_GAP, y, _GAP + query_width, y + _CELL - note_height)
            bottom = _write(draw, box, retrieval.query, 15, _INK)
            note_y = bottom + 4
        else:
            _paste(sheet, retrieval.query, (_GAP, y, _GAP + _CELL, y + _CELL))
            note_y = y + _CELL + 4
        draw.text((_GAP, note_y), retrieval.note, _FAINT, _font(13))
        rule = _GAP * 2 + query_width
        draw.line((rule, y, rule, y + _CELL), _RULE, 1)
        for column, result in enumerate(retrieval.results):
            x = rule + _GAP + column * (_CELL + _GAP)
            _candidate(sheet, draw, (x, y, x + _CELL, y + _CELL), result)
    _save(sheet, path)


def answers_sheet(path: Path, items: Sequence[Answered], title: str, columns: int = 4) -> None:
    """Write a cell a question: picture, question, answer and, where wrong, the truth.

    Raises:
        ValueError: where there is nothing to draw.
    """
    if not items:
        raise ValueError(f"found no answers for {path.name}; expected at least one")
    side, text_height = 208, 92
    top, cell_height = 56, side + text_height + _GAP
    rows = -(-len(items) // columns)
    sheet, draw = _sheet(_GAP + columns * (side + _GAP), top + rows * cell_height, title)
    for place, item in enumerate(items):
        x = _GAP + place % columns * (side + _GAP)
        y = top + place // columns * cell_height
        colour = _RIGHT if item.right else _WRONG
        _paste(sheet, item.image, _inside((x, y, x + side, y + side), _FRAME))
        _frame(draw, (x, y, x + side, y + side), item.right)
        bottom = _write(draw, (x, y + side + 6, x + side, y + side + 46), item.question, 14, _INK)
        _mark(draw, x, bottom + 5, item.right)
        answer_box = (x + _MARK + 6, bottom + 3, x + side, bottom + 22)
        bottom = _write(draw, answer_box, item.answer or "(no answer)", 15, colour)
        if not item.right:
            truth_box = (x, bottom + 2, x + side, y + side + text_height)
            _write(draw, truth_box, f"truth: {item.truth}", 13, _FAINT)
    _save(sheet, path)


def _sheet(width: int, height: int, title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP, 14, width - _GAP, 46), title, 20, _INK)
    return sheet, draw


def _candidate(sheet: Image.Image, draw: ImageDraw.ImageDraw, box: Box, result: Retrieved) -> None:
    if isinstance(result.content, str):
        _write(draw, _inside(box, 10), result.content, 13, _INK)
    else:
        _paste(sheet, result.content, _inside(box, _FRAME))
    _frame(draw, box, result.right)
    _mark(draw, box[0], box[3] + 5, result.right)
    draw.text((box[0] + _MARK + 6, box[3] + 4), f"{result.score:.2f}", _FAINT, _font(13))


def _inside(box: Box, margin: int) -> Box:
    return (box[0] + margin, box[1] + margin, box[2] - margin, box[3] - margin)


def _paste(sheet: Image.Image, picture: Image.Image, box: Box) -> None:
    """Fit a picture into a box, in the middle on light grey, its aspect kept."""
    width, height = box[2] - box[0], box[3] - box[1]
    sheet.paste(_PAPER, box)
    image = picture.convert("RGBA")
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    fitted = image.resize(size, Image.Resampling.LANCZOS)
    corner = (box[0] + (width - size[0]) // 2, box[1] + (height - size[1]) // 2)
    sheet.paste(fitted, corner, fitted)


def _frame(draw: ImageDraw.ImageDraw, box: Box, right: bool) -> None:
    colour = _RIGHT if right else _WRONG
    draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=colour, width=_FRAME)


def _mark(draw: ImageDraw.ImageDraw, x: int, y: int, right: bool) -> None:
    """Draw a white tick or cross on a square of `_MARK` pixels, beside the picture, not on it."""
    draw.rectangle((x, y, x + _MARK - 1, y + _MARK - 1), fill=_RIGHT if right else _WRONG)
    if right:
        draw.line([(x + 3, y + 7), (x + 6, y + 10), (x + 11, y + 4)], "white", 2, joint="curve")
    else:
        draw.line([(x + 4, y + 4), (x + 10, y + 10)], "white", 2)
        draw.line([(x + 10, y + 4), (x + 4, y + 10)], "white", 2)


def _write(draw: ImageDraw.ImageDraw, box: Box, text: str, size: int, colour: str) -> int:
    """Write text wrapped into a box, cut with an ellipsis where it is full; return its bottom."""
    font = _font(size)
    height = size + 4
    lines = _wrapped(text, font, box[2] - box[0])
    room = max(1, (box[3] - box[1]) // height)
    if len(lines) > room:
        lines = [*lines[: room - 1], _cut(lines[room - 1] + " …", font, box[2] - box[0])]
    for number, line in enumerate(lines):
        draw.text((box[0], box[1] + number * height), line, colour, font)
    return box[1] + len(lines) * height


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_cut(word, font, width))
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def _cut(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    kept = line.removesuffix("…").rstrip()
    while kept and font.getlength(kept + "…") > width:
        kept = kept[:-1].rstrip()
    return kept + "…"


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _save(sheet: Image.Image, path: Path) -> None:
    content = io.BytesIO()
    sheet.save(content, "PNG", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content.getvalue())
