"""Which positions of an epoch make which batch, so that 1, 2 and 4 processes see the same batches.

A batch has `num_shards` equal parts, the logical shards of the engine. Each shard walks through a
stretch of the epoch of its own, so a process that owns some of the shards reads only their rows:
R processes read the data once among them, not R times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_glass.training.parquet.row_groups import Integers


@dataclass(frozen=True, kw_only=True)
class BatchLayout:
    """Batches over the positions 0 to num_rows of an epoch.

    Attributes:
        num_rows: of an epoch.
        batch_size: over all processes.
        num_shards: equal parts of a batch; part of the order, as batch_size is where it is not 1.
        drop_last: whether the rows that make no whole batch are left out; another epoch's order
            leaves out others. Else they make a last, smaller batch.
    """

    num_rows: int
    batch_size: int
    num_shards: int = 1
    drop_last: bool = True

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: where a batch can't be cut or filled.
        """
        if self.num_shards < 1 or self.batch_size < 1 or self.batch_size % self.num_shards:
            raise ValueError(
                f"batch_size {self.batch_size} is not cut into {self.num_shards} equal shards: "
                "choose a multiple"
            )
        if not self.num_steps:
            raise ValueError(
                f"batch_size is {self.batch_size}, but there are only {self.num_rows} rows: "
                "lower it, or set drop_last=False"
            )
        if not self.drop_last and 0 < self.rest < self.num_shards:
            raise ValueError(
                f"the last batch has {self.rest} rows for {self.num_shards} shards, and one would "
                "be empty: set drop_last=True or another batch_size"
            )

    @property
    def whole(self) -> int:
        """Batches of full size."""
        return self.num_rows // self.batch_size

    @property
    def rest(self) -> int:
        """Rows beyond them."""
        return self.num_rows % self.batch_size

    @property
    def num_steps(self) -> int:
        """Batches of an epoch."""
        return self.whole + (not self.drop_last and self.rest > 0)

    def positions(self, step: int, shard: int) -> range:
        """Returns the positions of a shard's part of a batch."""
        if step == self.whole:
            tail, edges = self.whole * self.batch_size, self._rest_edges()
            return range(tail + int(edges[shard]), tail + int(edges[shard + 1]))
        part = self.batch_size // self.num_shards
        first = (shard * self.whole + step) * part
        return range(first, first + part)

    def steps_and_shards(self, positions: Integers) -> tuple[Integers, Integers]:
        """The inverse: the step and the shard of each position (n,), num_steps where left out."""
        part = self.batch_size // self.num_shards
        tail = positions - self.whole * self.batch_size
        shards, steps = np.divmod(positions // part, max(self.whole, 1))
        tail_shards = np.searchsorted(self._rest_edges(), tail, side="right") - 1
        return (
            np.where(tail < 0, steps, self.whole),
            np.where(tail < 0, shards, np.minimum(tail_shards, self.num_shards - 1)),
        )

    def _rest_edges(self) -> Integers:
        return np.arange(self.num_shards + 1, dtype=np.int64) * self.rest // self.num_shards
