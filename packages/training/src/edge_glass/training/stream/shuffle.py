"""The order of the rows of an epoch: a function of (seed, epoch, window), for any position.

Row groups get a random order. Then consecutive groups are packed into blocks of at most `window`
rows (a larger row group is its own block), and the rows of a block are permuted. So each block is
read once and from complete row groups, and a row is less than max(window, largest row group)
positions from its position without the permutation. Memory holds a few numbers per row group and
one permutation of a block, but nothing per row of the epoch. Nothing is replayed on resume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from edge_glass.training.engine.determinism import generator
from edge_glass.training.engine.order import epoch_order
from edge_glass.training.parquet.row_groups import Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """The rows at positions `first` to `first + len(group)` of an epoch.

    Attributes:
        number: of the block in its epoch.
        first: its first position.
        group: (n,) the row group of each position.
        row: (n,) the row in that group.
    """

    number: int
    first: int
    group: Integers
    row: Integers

    @property
    def stop(self) -> int:
        """The position after the last."""
        return self.first + len(self.group)


class EpochShuffle:
    """The order of one epoch.

    Args:
        rows: (G,) the rows of each row group.
        seed: of the run.
        epoch: each epoch has a different order.
        window: maximum number of rows of a block; 0 keeps the stored order.

    Raises:
        ValueError: if the window is negative.
    """

    def __init__(self, rows: Integers, *, seed: int, epoch: int, window: int) -> None:
        if window < 0:
            raise ValueError(
                f"window is {window}, expected a number of rows, or 0 for the stored order"
            )
        self._counters = (seed, "window", epoch)
        self._shuffled = window > 0
        if window:
            self._groups = epoch_order(len(rows), seed=seed, epoch=epoch).numpy()
        else:
            self._groups = np.arange(len(rows))
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(rows[self._groups])])
        self._edges = _pack(self._starts, window)

    @property
    def num_rows(self) -> int:
        """Number of rows of an epoch."""
        return int(self._starts[-1])

    def block_at(self, position: int) -> Block:
        """Returns the block that holds a position.

        Raises:
            IndexError: if the epoch has no such position.
        """
        if not 0 <= position < self.num_rows:
            raise IndexError(f"position {position} of an epoch of {self.num_rows} rows")
        number = int(np.searchsorted(self._starts[self._edges], position, side="right")) - 1
        low, high = self._edges[number], self._edges[number + 1]  # range in the order of the groups
        first, stop = int(self._starts[low]), int(self._starts[high])
        if self._shuffled:
            draw = generator(*self._counters, number)
            stream = first + torch.randperm(stop - first, generator=draw).numpy()
        else:
            stream = np.arange(first, stop)
        at = low + np.searchsorted(self._starts[low : high + 1], stream, side="right") - 1
        return Block(
            number=number, first=first, group=self._groups[at], row=stream - self._starts[at]
        )


def _pack(starts: Integers, window: int) -> Integers:
    """Returns the first group of each block (as many groups as fit, or one), then their number."""
    edges = [0]
    while edges[-1] < len(starts) - 1:
        begin = edges[-1]
        end = int(np.searchsorted(starts, starts[begin] + window, side="right")) - 1
        edges.append(max(end, begin + 1))
    return np.array(edges, dtype=np.int64)
