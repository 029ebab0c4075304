"""The order of a search's result: each content once, the best first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_glass.fusion.search.index import ImageIndex


def unique_rows(index: ImageIndex) -> dict[int, int]:
    """Returns the first row of each content, and how many other files have the same bytes.

    Rows are places in `index.paths()`, in order.
    """
    contents = [index.images[path].stamp.sha256 for path in index.paths()]
    number = Counter(contents)
    first: dict[str, int] = {}
    for row, content in enumerate(contents):
        first.setdefault(content, row)
    return {row: number[content] - 1 for content, row in first.items()}


def best_places(scores: NDArray[Any], top: int) -> list[int]:
    """Returns the places of the `top` largest scores, the largest first; equal ones keep order."""
    found: list[int] = np.argsort(-scores, kind="stable")[:top].tolist()
    return found
