"""An image with answers to questions about it, and the points that they name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from edge_glass.fusion.points import find_points, without_points
from edge_glass.fusion.sheets.contact_sheet import (
    FAINT,
    GAP,
    INK,
    font,
    new_sheet,
    save_sheet,
    write,
)

_SIDE = 480  # of an image, in pixels
_TEXT = 96  # room below an image for question and answer
_COLUMNS = 2
_RADIUS = 9
_COLOURS = (
    "#d81b60",
    "#1e88e5",
    "#ffb300",
    "#004d40",
)  # distinct for the colour-blind


def answer_sheet(path: Path, image: Image.Image, answered: Sequence[tuple[str, str]]) -> None:
    """Writes one cell per question and answer: the image with the answer's points, and both texts.

    The sheet is a PNG. Points are numbered in the order of the answer.
    """
    if not answered:
        raise ValueError(f"no answers for {path.name}, expected at least one")
    scale = min(_SIDE / image.width, _SIDE / image.height)
    width, height = (max(1, round(side * scale)) for side in image.size)
    columns = min(len(answered), _COLUMNS)
    rows = -(-len(answered) // columns)
    cell = height + _TEXT + GAP
    sheet, draw = new_sheet(GAP + columns * (_SIDE + GAP), GAP + rows * cell, of_machine=True)
    scaled = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    for number, (question, answer) in enumerate(answered):
        left = GAP + number % columns * (_SIDE + GAP)
        above = GAP + number // columns * cell
        drawn = scaled.copy()
        draw_points(drawn, answer)
        sheet.paste(drawn, (left + (_SIDE - width) // 2, above))
        box = (left, above + height + 8, left + _SIDE, above + height + 48)
        bottom = write(draw, box, question, 15, FAINT, of_machine=True)
        box = (left, bottom + 4, left + _SIDE, above + height + _TEXT)
        text = without_points(answer) or "(no answer)"
        write(draw, box, text, 17, INK, of_machine=True)
    save_sheet(sheet, path, mark=True)


def draw_points(image: Image.Image, answer: str) -> None:
    """Draws the points of an answer on an image, as numbered circles."""
    draw = ImageDraw.Draw(image)
    numbers = 0
    for element, pointing in enumerate(find_points(answer)):
        colour = _COLOURS[element % len(_COLOURS)]
        for x, y in pointing.points:
            numbers += 1
            # the pixel at this share of the side; the last one at 100 %
            across = min(int(x / 100 * image.width), image.width - 1)
            down = min(int(y / 100 * image.height), image.height - 1)
            ring = (across - _RADIUS, down - _RADIUS, across + _RADIUS, down + _RADIUS)
            draw.ellipse(ring, fill=colour, outline="white", width=2)
            draw.text((across, down), str(numbers), "white", font(12), anchor="mm")
