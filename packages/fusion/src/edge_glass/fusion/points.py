"""Points in an answer, in Molmo's notation.

`<point x="10.0" y="20.5" alt="cup">cup</point>`, and for several points
`<points x1="10.0" y1="20.5" x2="30.1" y2="5.0" alt="cups">cups</points>`; x and y are percent of
width and height (Deitke et al. 2024, arXiv:2409.17146, section 3).
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

# Spaces may stand anywhere: a tokenizer of whole words writes them between marks. An answer that
# reached its limit has no end: what is complete counts.
_ELEMENT = re.compile(
    r"<\s*(points?)\b([^<>]*)(?:>([^<]*)(?:<\s*/\s*points?\s*>)?)?", re.IGNORECASE
)
_COORDINATE = re.compile(
    r'\b([xy])\s*(\d*)\s*=\s*"\s*(-?\s*(?:\d+(?:\s*\.\s*\d*)?|\.\s*\d+))\s*"', re.IGNORECASE
)
_ALT = re.compile(r'\balt\s*=\s*"([^"]*)"', re.IGNORECASE)

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """What one element points to.

    Attributes:
        label: the name of what is pointed to, "" if there is none.
        points: (x, y) in percent of width and height.
    """

    label: str
    points: tuple[Point, ...]


def find_points(answer: str) -> list[Pointing]:
    """Returns what an answer points to; points outside of 0 to 100 are left out."""
    found = []
    for element in _ELEMENT.finditer(answer):
        _, attributes, text = element.groups()
        axes: dict[str, dict[str, float]] = {"x": {}, "y": {}}
        for axis, number, value in _COORDINATE.findall(attributes):
            axes[axis.lower()][number] = float("".join(value.split()))
        pairs = [(axes["x"][n], axes["y"][n]) for n in axes["x"] if n in axes["y"]]
        points = tuple((x, y) for x, y in pairs if 0 <= x <= 100 and 0 <= y <= 100)
        alt = _ALT.search(attributes)
        label = html.unescape((text or "").strip() or (alt[1].strip() if alt else ""))
        if points:
            found.append(Pointing(label=label, points=points))
    return found


def without_points(answer: str) -> str:
    """Returns an answer for people: each element is its label and the number of its points."""

    def readable(element: re.Match[str]) -> str:
        pointings = find_points(element[0])
        if not pointings:
            return element[0]
        (pointing,) = pointings
        count = len(pointing.points)
        number = f"({count} point{'s' if count > 1 else ''})"
        return f"{pointing.label} {number}".strip()

    return _ELEMENT.sub(readable, answer)
