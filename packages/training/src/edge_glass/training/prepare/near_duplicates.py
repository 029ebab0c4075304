"""Pictures that look alike, by perceptual hash, without comparing all with all.

The 64 bits are dealt out to distance + 1 bands. Two hashes that differ in at most `distance` bits
agree on at least one whole band (pigeonhole), so only hashes of one band's bucket are compared, a
block at a time. A band takes every n-th bit: neighbouring bits of a difference hash are alike in
smooth pictures, and a band of neighbours would put half of the pictures in one bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS = 64
BLOCK = 2048  # hashes compared with as many at once: 32 MiB

Hashes = NDArray[np.uint64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lookalikes:
    """Which of p pictures look like another one.

    Attributes:
        any_split: (p,) like any other.
        across: (p,) like one of another split.
        earlier: (p,) like one that comes before.
        earlier_across: (p,) like one of another split that comes before.
    """

    any_split: Flags
    across: Flags
    earlier: Flags
    earlier_across: Flags


def find_lookalikes(hashes: Hashes, splits: Integers, distance: int) -> Lookalikes:
    """Finds the pictures that look like others.

    Args:
        hashes: (p,) uint64, in the order of the pictures.
        splits: (p,) their splits, as numbers.
        distance: bits in which two hashes differ at most.
    """
    # equal hashes of one split are one item, known by its first picture
    keys = np.stack([hashes, splits.astype(np.uint64)], axis=1)
    items, first, item, count = np.unique(
        keys, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    item = item.reshape(-1)
    never = len(hashes)
    nearest = np.full(len(items), never)  # the first lookalike of another item
    nearest_across = nearest.copy()
    for left, right in near_pairs(items[:, 0], distance):
        np.minimum.at(nearest, left, first[right])
        np.minimum.at(nearest, right, first[left])
        differ = items[left, 1] != items[right, 1]
        left, right = left[differ], right[differ]
        np.minimum.at(nearest_across, left, first[right])
        np.minimum.at(nearest_across, right, first[left])
    place = np.arange(len(hashes))
    return Lookalikes(
        any_split=((nearest < never) | (count > 1))[item],
        across=(nearest_across < never)[item],
        earlier=place > np.minimum(nearest, first)[item],
        earlier_across=place > nearest_across[item],
    )


def near_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[Integers, Integers]]:
    """Yields pairs of places, left before right, whose hashes differ in at most `distance` bits.

    Every such pair comes at least once, and once more for each further band that it shares.
    """
    bands = distance + 1
    for band in range(bands):
        mask = np.uint64(sum(1 << bit for bit in range(band, BITS, bands)))
        keys = hashes & mask
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        starts, stops = np.append(0, edges), np.append(edges, len(order))
        shared = stops - starts > 1
        for start, stop in zip(starts[shared], stops[shared], strict=True):
            yield from _pairs_within(hashes, order[start:stop], distance)


def _pairs_within(
    hashes: Hashes, places: Integers, distance: int
) -> Iterator[tuple[Integers, Integers]]:
    """Compares all with all of one bucket, whose places ascend."""
    for top in range(0, len(places), BLOCK):
        rows = places[top : top + BLOCK]
        for side in range(top, len(places), BLOCK):
            columns = places[side : side + BLOCK]
            bits = np.bitwise_count(hashes[rows, None] ^ hashes[columns])
            left, right = np.nonzero(bits <= distance)
            left, right = rows[left], columns[right]
            below = left < right
            if below.any():
                yield left[below], right[below]
