"""Images that look alike, by perceptual hash, without comparing every image with every other.

The 64 bits are divided into distance + 1 bands. Two hashes that differ in at most `distance` bits
agree on at least one complete band (pigeonhole principle), so only hashes with an equal band are
compared, a block at a time. A band takes every n-th bit: adjacent bits of a difference hash are
often equal in smooth images, so a band of adjacent bits would put half of the images in one bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS = 64
BLOCK = 2048  # this many hashes are compared with as many at once: 32 MiB

Hashes = NDArray[np.uint64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lookalikes:
    """Which of p images look like a different one.

    Attributes:
        any_split: (p,) like any other image.
        across: (p,) like an image of a different split.
        earlier: (p,) like an earlier image.
        earlier_across: (p,) like an earlier image of a different split.
    """

    any_split: Flags
    across: Flags
    earlier: Flags
    earlier_across: Flags


def find_lookalikes(
    hashes: Hashes, splits: Integers, distance: int, *, block: int = BLOCK
) -> Lookalikes:
    """Finds the images that look like others.

    Args:
        hashes: (p,) uint64, in the order of the images.
        splits: (p,) their splits, as numbers.
        distance: the largest number of different bits.
        block: number of hashes that are compared with as many at once.
    """
    # equal hashes of one split are one item, represented by its first image
    keys = np.stack([hashes, splits.astype(np.uint64)], axis=1)
    items, first, item, count = np.unique(
        keys, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    item = item.reshape(-1)
    never = len(hashes)
    nearest = np.full(len(items), never)  # the first lookalike in a different item
    nearest_across = nearest.copy()
    for left, right in near_pairs(items[:, 0], distance, block=block):
        np.minimum.at(nearest, left, first[right])
        np.minimum.at(nearest, right, first[left])
        differ = items[left, 1] != items[right, 1]
        left, right = left[differ], right[differ]
        np.minimum.at(nearest_across, left, first[right])
        np.minimum.at(nearest_across, right, first[left])
    position = np.arange(len(hashes))
    return Lookalikes(
        any_split=((nearest < never) | (count > 1))[item],
        across=(nearest_across < never)[item],
        earlier=position > np.minimum(nearest, first)[item],
        earlier_across=position > nearest_across[item],
    )


def near_pairs(
    hashes: Hashes, distance: int, *, block: int = BLOCK
) -> Iterator[tuple[Integers, Integers]]:
    """Yields pairs of positions, left < right, whose hashes differ in at most `distance` bits.

    Every such pair comes at least once, and once more for each further band that is equal.
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
            yield from _pairs_within(hashes, order[start:stop], distance, block)


def _pairs_within(
    hashes: Hashes, positions: Integers, distance: int, block: int
) -> Iterator[tuple[Integers, Integers]]:
    """Compares all hashes of one bucket with each other; its positions ascend."""
    for top in range(0, len(positions), block):
        rows = positions[top : top + block]
        for side in range(top, len(positions), block):
            columns = positions[side : side + block]
            bits = np.bitwise_count(hashes[rows, None] ^ hashes[columns])
            left, right = np.nonzero(bits <= distance)
            left, right = rows[left], columns[right]
            ascending = left < right
            if ascending.any():
                yield left[ascending], right[ascending]
