"""Which positions of an epoch form which batch: equal batches for 1, 2 and 4 processes.

A batch has `num_microbatches` equal parts, the microbatches of the engine. Each microbatch takes
its rows from its own section of the epoch, so a process that owns some of them reads only their
sections: all processes together read the data once per epoch.
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
        num_microbatches: equal parts of a batch. The order of rows depends on it, and on batch_size
            if it is not 1.
        drop_last: whether to leave out the rows that do not fill a batch (different ones in each
            epoch). Otherwise they form a last, smaller batch.
    """

    num_rows: int
    batch_size: int
    num_microbatches: int = 1
    drop_last: bool = True

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: if a batch can't be divided or filled.
        """
        if (
            self.num_microbatches < 1
            or self.batch_size < 1
            or self.batch_size % self.num_microbatches
        ):
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of num_microbatches "
                f"{self.num_microbatches}: choose a multiple"
            )
        if not self.num_steps:
            raise ValueError(
                f"batch_size is {self.batch_size}, but there are only {self.num_rows} rows: "
                "lower it, or set drop_last=False"
            )
        if not self.drop_last and 0 < self.rest < self.num_microbatches:
            raise ValueError(
                f"the last batch has {self.rest} rows for {self.num_microbatches} microbatches, so "
                "one would be empty: set drop_last=True or a different batch_size"
            )

    @property
    def num_full(self) -> int:
        """Number of full batches of an epoch."""
        return self.num_rows // self.batch_size

    @property
    def rest(self) -> int:
        """Number of rows after the full batches."""
        return self.num_rows % self.batch_size

    @property
    def num_steps(self) -> int:
        """Number of batches of an epoch."""
        return self.num_full + (not self.drop_last and self.rest > 0)

    def positions(self, step: int, microbatch: int) -> range:
        """Returns the positions of a microbatch of the batch of a step."""
        if step == self.num_full:
            tail, edges = self.num_full * self.batch_size, self._rest_edges()
            return range(tail + int(edges[microbatch]), tail + int(edges[microbatch + 1]))
        part = self.batch_size // self.num_microbatches
        first = (microbatch * self.num_full + step) * part
        return range(first, first + part)

    def steps_and_microbatches(self, positions: Integers) -> tuple[Integers, Integers]:
        """Returns step and microbatch of positions (n,); step num_steps if it is left out."""
        part = self.batch_size // self.num_microbatches
        tail = positions - self.num_full * self.batch_size
        microbatches, steps = np.divmod(positions // part, max(self.num_full, 1))
        in_tail = np.searchsorted(self._rest_edges(), tail, side="right") - 1
        return (
            np.where(tail < 0, steps, self.num_full),
            np.where(tail < 0, microbatches, np.minimum(in_tail, self.num_microbatches - 1)),
        )

    def _rest_edges(self) -> Integers:
        return (
            np.arange(self.num_microbatches + 1, dtype=np.int64)
            * self.rest
            // self.num_microbatches
        )
