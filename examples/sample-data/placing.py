"""Where objects stand in a scene: free, or in rows and cells as people lay things out."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

LAYOUTS = {"free": 0.5, "quarters": 0.2, "cells": 0.15, "row": 0.1, "column": 0.05}
SIZES = (0.65, 1.2)  # of the longer side, as a share of the canvas's shorter side, if one object
LARGEST = 0.95
MAX_OVERLAP = 0.12  # of the smaller object's box
TRIES = 40
SHRINK = 0.85  # after so many tries in vain


@dataclass(frozen=True, kw_only=True)
class Box:
    """A square on the canvas: centre and side as shares of the canvas's shorter side."""

    x: float
    y: float
    side: float

    def overlap(self, other: Box) -> float:
        """The shared area, as a share of the smaller box."""
        reach = (self.side + other.side) / 2
        smaller = min(self.side, other.side)
        shared = 1.0
        for distance in (abs(self.x - other.x), abs(self.y - other.y)):
            shared *= max(0.0, min(smaller, reach - distance))
        return shared / smaller**2


def place(rng: Random, count: int, width: float, height: float) -> list[Box]:
    """Place ``count`` boxes.

    Args:
        rng: draws the layout, the places and the sizes.
        count: how many, at most six.
        width: of the canvas, as a share of its shorter side.
        height: likewise.
    """
    (layout,) = rng.choices(list(LAYOUTS), list(LAYOUTS.values()))
    if layout == "quarters" and count > 4:
        layout = "cells"
    if layout in ("row", "column") and count > 4:
        layout = "free"
    if layout == "free":
        return _place_freely(rng, count, width, height)
    columns, rows = {
        "quarters": (2, 2),
        "cells": (3, 2) if width >= height else (2, 3),
        "row": (count, 1),
        "column": (1, count),
    }[layout]
    cell_width, cell_height = width / columns, height / rows
    chosen = rng.sample(range(columns * rows), count)
    same = rng.uniform(0.75, 1.0) if rng.random() < 0.4 else None  # all of one size
    boxes = []
    for cell in chosen:
        side = min(cell_width, cell_height) * (same or rng.uniform(0.65, 1.0))
        free_x, free_y = cell_width - side, cell_height - side
        # Near the middle of a long cell, or a row would be no row.
        free_x, free_y = min(free_x, 0.3), min(free_y, 0.3)
        boxes.append(
            Box(
                x=cell_width * (cell % columns + 0.5) + free_x * (rng.random() - 0.5),
                y=cell_height * (cell // columns + 0.5) + free_y * (rng.random() - 0.5),
                side=side,
            )
        )
    return boxes


def _place_freely(rng: Random, count: int, width: float, height: float) -> list[Box]:
    # more objects are smaller
    low, high = (min(LARGEST, size / count**0.5) for size in SIZES)
    same = rng.random() < 0.2
    first = rng.uniform(low, high)
    sides = [first if same else rng.uniform(low, high) for _ in range(count)]
    boxes: list[Box] = []
    for side in sorted(sides, reverse=True):
        boxes.append(_fit(rng, side, boxes, width, height))
    return boxes


def _fit(rng: Random, side: float, boxes: list[Box], width: float, height: float) -> Box:
    """Draw a box that overlaps each other box by at most 12 %, smaller if there is no room."""
    while True:
        for _ in range(TRIES):
            box = Box(
                x=rng.uniform(side / 2, width - side / 2),
                y=rng.uniform(side / 2, height - side / 2),
                side=side,
            )
            if all(box.overlap(other) <= MAX_OVERLAP for other in boxes):
                return box
        side *= SHRINK
