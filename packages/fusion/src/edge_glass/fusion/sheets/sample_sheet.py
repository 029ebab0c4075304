"""A page of prepared images with their texts, as PNG; the same samples give the same bytes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edge_glass.fusion.sheets.contact_sheet import (
    FAINT,
    GAP,
    INK,
    RULE,
    new_sheet,
    paste,
    save_sheet,
    write,
)

_SIDE = 208  # of an image, in pixels
_TEXT = 360  # width of the texts next to it, in pixels
_COLUMNS = 2
_ANSWER = "#1a5a96"
_TOP = 50
_LINE = 18


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image as the model receives it, and its texts.

    Attributes:
        image: after preprocessing.
        note: a line about it, such as its split and its size.
        texts: pairs of texts: a caption and its transcript, or a question and its answer.
    """

    image: Image.Image
    note: str
    texts: Sequence[tuple[str, str]]


def sample_sheet(
    path: Path,
    samples: Sequence[Sample],
    title: str,
    notes: Sequence[str],
    *,
    of_machine: bool = False,
) -> None:
    """Writes the page as PNG: one card per sample, two per line, with its texts next to the image.

    `notes` are lines below the title; each is cut after two lines. `of_machine` uses the machine's
    fonts for characters that the bundled ones lack; the sheet is then marked, see `is_sheet`.
    """
    if not samples:
        raise ValueError(f"no samples for {path.name}, expected at least one")
    card = (_SIDE + GAP + _TEXT, _SIDE + 2 * GAP)
    lines = -(-len(samples) // _COLUMNS)
    top = _TOP + 2 * _LINE * len(notes) + GAP
    width = GAP + _COLUMNS * (card[0] + 2 * GAP)
    sheet, draw = new_sheet(width, top + lines * card[1], title, of_machine=of_machine)
    put = functools.partial(write, draw, of_machine=of_machine)
    y = _TOP
    for note in notes:
        y = put((GAP, y, width - GAP, y + 2 * _LINE), note, 14, FAINT) + 2
    for position, sample in enumerate(samples):
        x = GAP + position % _COLUMNS * (card[0] + 2 * GAP)
        y = top + position // _COLUMNS * card[1]
        paste(sheet, sample.image, (x, y, x + _SIDE, y + _SIDE))
        # The frame is outside the image, whose edge may be white.
        draw.rectangle((x - 1, y - 1, x + _SIDE, y + _SIDE), outline=RULE)
        left = x + _SIDE + GAP
        note_box = (left, y, left + _TEXT, y + _LINE)
        bottom = put(note_box, sample.note, 13, FAINT) + 4
        for number, (text, reply) in enumerate(sample.texts):
            # Each text gets an equal share of the room that is left; later ones get its rest.
            room = (y + _SIDE - bottom) // (len(sample.texts) - number)
            end = bottom + room
            reply_room = min(2 * _LINE, room // 2) if reply else 0
            bottom = put((left, bottom, left + _TEXT, end - reply_room), text, 14, INK)
            if reply:
                bottom = put((left, bottom, left + _TEXT, end), reply, 14, _ANSWER)
            bottom += 6
    save_sheet(sheet, path, mark=of_machine)
