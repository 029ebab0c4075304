"""Points of answers, compared with the true ones by distance, and with masks if there are any."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_glass.fusion.points import Point, find_points

NEAR = 5.0  # percent of the image's sides: a point that is so near to a true one is right
NOTHING = "there are none"  # the answer if there is nothing to point to, see prepare/templates.py


def point_metrics(given: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns scores of the questions whose true answers are points, or nothing without any.

    Given and true points are paired one to one, the nearest first, by distance in percent of width
    and height. "point_f1" is the mean over questions of F1, in which a pair counts if its distance
    is at most `NEAR`; "point_distance" is the mean distance of all pairs, left out if there are
    none. "point_in_mask_f1" counts the masks that a given point lies in, over the questions with
    masks, as pixmo-points-eval has them. If there is nothing to point to, no point is right.
    """
    near: list[float] = []
    in_mask: list[float] = []
    distances: list[float] = []
    for answer, row in zip(given, rows, strict=True):
        true = points_of(row["answer"])
        if not true and row["answer"].strip(" .").lower() != NOTHING:
            continue
        found = points_of(answer)
        pairs = paired_distances(found, true)
        distances += pairs
        near.append(_f1(sum(each <= NEAR for each in pairs), len(found), len(true)))
        if row.get("masks"):
            masks = [_mask(each) for each in row["masks"]]
            hit = sum(any(_inside(point, mask) for point in found) for mask in masks)
            in_mask.append(_f1(min(hit, len(found)), len(found), len(masks)))
    metrics = {"point_f1": near, "point_distance": distances, "point_in_mask_f1": in_mask}
    return {name: math.fsum(each) / len(each) for name, each in metrics.items() if each}


def points_of(answer: str) -> list[Point]:
    """Returns all points of an answer."""
    return [point for pointing in find_points(answer) for point in pointing.points]


def paired_distances(found: Sequence[Point], true: Sequence[Point]) -> list[float]:
    """Returns the distances of the pairs, the nearest first; each point is in one pair at most."""
    table = sorted(
        (math.dist(point, other), row, column)
        for row, point in enumerate(found)
        for column, other in enumerate(true)
    )
    rows: set[int] = set()
    columns: set[int] = set()
    distances = []
    for distance, row, column in table:
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            distances.append(distance)
    return distances


def _inside(point: Point, mask: NDArray[np.bool_]) -> bool:
    height, width = mask.shape
    column, row = (
        min(int(share / 100 * side), side - 1)
        for share, side in zip(point, (width, height), strict=True)
    )
    return bool(mask[row, column])


def _mask(content: bytes) -> NDArray[np.bool_]:
    return np.array(Image.open(io.BytesIO(content)).convert("1"))


def _f1(right: int, found: int, true: int) -> float:
    return 2 * right / (found + true) if found + true else 1.0
