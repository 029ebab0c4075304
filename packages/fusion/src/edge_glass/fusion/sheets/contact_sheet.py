"""Contact sheets: images in cells with lines of text, as PNG; and the sheet of a search.

Sheets of stages are drawn with bundled fonts only, so that the same images give the same bytes on
every machine. Sheets of `search` and `import` also use the fonts of the machine, for characters
that the bundled ones lack, and have a mark that keeps them from being searched themselves.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from edge_glass.encoders.files import write_atomic
from edge_glass.fusion.sheets.lettering import Lettering, lettering

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Box = tuple[int, int, int, int]  # left, top, right, bottom

GAP = 14  # pixels between cells
INK, FAINT, RULE, PAPER = "#1f1f1f", "#6b6b6b", "#dddddd", "#f3f3f3"

MARK = ("Software", "edge-glass contact sheet")

_CELL = 176
_COLUMNS = 5
_TOP = 82
_CAPTION = 48  # room below an image for its name and its score


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image that a search found, its name and its score; the image is None if it is gone."""

    image: Image.Image | None
    name: str
    score: float


def search_sheet(
    path: Path, query: str | Image.Image, found: Sequence[FoundImage], note: str = ""
) -> None:
    """Writes the images that a search found, best first, below the query.

    The sheet is a PNG. `note` is a line below the query, such as the folder that was searched.
    """
    if not found:
        raise ValueError(f"no images for {path.name}, expected at least one")
    columns = min(len(found), _COLUMNS)
    rows = -(-len(found) // columns)
    width = GAP + max(columns, 3) * (_CELL + GAP)
    sheet, draw = new_sheet(width, _TOP + rows * (_CELL + _CAPTION + GAP))
    left = GAP
    if isinstance(query, Image.Image):
        side = _TOP - 2 * GAP
        paste(sheet, query, (GAP, GAP, GAP + side, GAP + side))
        left += side + GAP
    title = query if isinstance(query, str) else "Images like this one"
    write(draw, (left, 16, width - GAP, 42), title, 21, INK, of_machine=True)
    write(draw, (left, 46, width - GAP, 64), note, 14, FAINT, of_machine=True)
    for number, each in enumerate(found):
        x = GAP + number % columns * (_CELL + GAP)
        y = _TOP + number // columns * (_CELL + _CAPTION + GAP)
        if each.image is not None:
            paste(sheet, each.image, (x, y, x + _CELL, y + _CELL))
        draw.rectangle((x, y, x + _CELL - 1, y + _CELL - 1), outline=RULE, width=1)
        name_box = (x, y + _CELL + 6, x + _CELL, y + _CELL + 24)
        write(draw, name_box, each.name, 14, INK, of_machine=True)
        draw.text((x, y + _CELL + 25), f"{number + 1}.  {each.score:.3f}", FAINT, font(13))
    save_sheet(sheet, path, mark=True)


def new_sheet(
    width: int, height: int, title: str = "", *, of_machine: bool = False
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Creates a white sheet of width x height pixels, with a headline if `title` is not empty."""
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    write(draw, (GAP, 14, width - GAP, 46), title, 20, INK, of_machine=of_machine)
    return sheet, draw


def save_sheet(sheet: Image.Image, path: Path, *, mark: bool = False) -> None:
    """Writes a sheet as PNG; a kill leaves the old file or the new one.

    `mark` makes `is_sheet` true for it: for sheets that may lie among images.
    """
    content = io.BytesIO()
    info = PngInfo()
    if mark:
        info.add_text(*MARK)
    sheet.save(content, "PNG", optimize=True, pnginfo=info)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content.getvalue())


def is_sheet(content: bytes) -> bool:
    """Returns whether a file is a sheet that `save_sheet` marked."""
    # The mark is in the first chunk behind the header of the PNG.
    return "\0".join(MARK).encode() in content[:128]


def paste(sheet: Image.Image, image: Image.Image, box: Box) -> None:
    """Fits an image into a box, centred on light grey, and keeps its aspect ratio."""
    width, height = box[2] - box[0], box[3] - box[1]
    sheet.paste(PAPER, box)
    with_alpha = image.convert("RGBA")
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    fitted = with_alpha.resize(size, Image.Resampling.LANCZOS)
    corner = (box[0] + (width - size[0]) // 2, box[1] + (height - size[1]) // 2)
    sheet.paste(fitted, corner, fitted)


def write(
    draw: ImageDraw.ImageDraw,
    box: Box,
    text: str,
    size: int,
    colour: str,
    *,
    of_machine: bool = False,
) -> int:
    """Writes text wrapped into a box, cut with an ellipsis if too long; returns its bottom.

    Characters that no font has are written as escapes. `of_machine` uses the machine's fonts too.
    """
    face = lettering(size, of_machine=of_machine)
    height = size + 4
    lines = _wrapped(face.readable(text), face, box[2] - box[0])
    room = max(1, (box[3] - box[1]) // height)
    if len(lines) > room:
        lines = [*lines[: room - 1], _cut(lines[room - 1] + " …", face, box[2] - box[0])]
    for number, line in enumerate(lines):
        face.draw(draw, (box[0], box[1] + number * height), line, colour)
    return box[1] + len(lines) * height


def font(size: int) -> Font:
    """Returns PIL's built-in font, which is the same everywhere."""
    return ImageFont.load_default(size)


def _wrapped(text: str, face: Lettering, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.length(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_cut(word, face, width))
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def _cut(line: str, face: Lettering, width: int) -> str:
    if face.length(line) <= width:
        return line
    kept = line.removesuffix("…").rstrip(" .")
    while kept and face.length(kept + "…") > width:
        kept = kept[:-1].rstrip(" .")
    return kept + "…"
