"""Contact sheets: pictures in cells with lines of text, as PNG; and the sheet of a search.

Drawn with PIL alone and its own font, so that the same pictures give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from edge_glass.encoders.files import write_atomic

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Box = tuple[int, int, int, int]  # left, top, right, bottom

GAP = 14  # pixels between cells
INK, FAINT, RULE, PAPER = "#1f1f1f", "#6b6b6b", "#dddddd", "#f3f3f3"

_CELL = 176
_COLUMNS = 5
_TOP = 82
_CAPTION = 48  # room below a picture: its name and its score


@dataclass(frozen=True, kw_only=True)
class FoundPicture:
    """A picture that a search found, its name and its score."""

    picture: Image.Image
    name: str
    score: float


def search_sheet(
    path: Path, query: str | Image.Image, found: Sequence[FoundPicture], note: str = ""
) -> None:
    """Write the pictures that a search found, best first, under the query.

    Args:
        path: PNG to write.
        query: a text, or the picture whose like were looked for.
        found: the pictures, best first.
        note: a line below the query, such as where was searched.

    Raises:
        ValueError: where there is nothing to draw.
    """
    if not found:
        raise ValueError(f"found no pictures for {path.name}; expected at least one")
    columns = min(len(found), _COLUMNS)
    rows = -(-len(found) // columns)
    width = GAP + max(columns, 3) * (_CELL + GAP)
    sheet, draw = new_sheet(width, _TOP + rows * (_CELL + _CAPTION + GAP))
    left = GAP
    if isinstance(query, Image.Image):
        side = _TOP - 2 * GAP
        paste(sheet, query, (GAP, GAP, GAP + side, GAP + side))
        left += side + GAP
    title = query if isinstance(query, str) else "Pictures like this one"
    write(draw, (left, 16, width - GAP, 42), title, 21, INK)
    write(draw, (left, 46, width - GAP, 64), note, 14, FAINT)
    for place, each in enumerate(found):
        x = GAP + place % columns * (_CELL + GAP)
        y = _TOP + place // columns * (_CELL + _CAPTION + GAP)
        paste(sheet, each.picture, (x, y, x + _CELL, y + _CELL))
        draw.rectangle((x, y, x + _CELL - 1, y + _CELL - 1), outline=RULE, width=1)
        write(draw, (x, y + _CELL + 6, x + _CELL, y + _CELL + 24), each.name, 14, INK)
        draw.text((x, y + _CELL + 25), f"{place + 1}.  {each.score:.3f}", FAINT, font(13))
    save_sheet(sheet, path)


def new_sheet(width: int, height: int, title: str = "") -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Make a white sheet of that many pixels, with a headline where one is given."""
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    write(draw, (GAP, 14, width - GAP, 46), title, 20, INK)
    return sheet, draw


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a sheet as PNG, whole or not at all."""
    content = io.BytesIO()
    sheet.save(content, "PNG", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content.getvalue())


def paste(sheet: Image.Image, picture: Image.Image, box: Box) -> None:
    """Fit a picture into a box, in the middle on light grey, its aspect kept."""
    width, height = box[2] - box[0], box[3] - box[1]
    sheet.paste(PAPER, box)
    image = picture.convert("RGBA")
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    fitted = image.resize(size, Image.Resampling.LANCZOS)
    corner = (box[0] + (width - size[0]) // 2, box[1] + (height - size[1]) // 2)
    sheet.paste(fitted, corner, fitted)


def write(draw: ImageDraw.ImageDraw, box: Box, text: str, size: int, colour: str) -> int:
    """Write text wrapped into a box, cut with an ellipsis where it is full; return its bottom."""
    face = font(size)
    height = size + 4
    lines = _wrapped(text, face, box[2] - box[0])
    room = max(1, (box[3] - box[1]) // height)
    if len(lines) > room:
        lines = [*lines[: room - 1], _cut(lines[room - 1] + " …", face, box[2] - box[0])]
    for number, line in enumerate(lines):
        draw.text((box[0], box[1] + number * height), line, colour, face)
    return box[1] + len(lines) * height


def font(size: int) -> Font:
    """Return PIL's own font, which is the same everywhere."""
    return ImageFont.load_default(size)


def _wrapped(text: str, face: Font, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_cut(word, face, width))
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def _cut(line: str, face: Font, width: int) -> str:
    if face.getlength(line) <= width:
        return line
    kept = line.removesuffix("…").rstrip(" .")
    while kept and face.getlength(kept + "…") > width:
        kept = kept[:-1].rstrip(" .")
    return kept + "…"
