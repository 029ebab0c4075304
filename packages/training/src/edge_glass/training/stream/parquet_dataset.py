"""Batches from Parquet row groups: the same in the same order at any worker or process count.

The rows of a batch are a function of (seed, epoch, step), the window and the sizes in
`OrderConfig`, so a run can resume at any step, and nothing is skipped or replayed. Each of W
workers makes every W-th batch. It reads the row groups of a block one after the other and keeps
only the rows of its own batches. So all workers together hold the rows of one window for each
microbatch, and each worker holds a few hundred rows of a row group in addition.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from edge_glass.encoders.images import BadImageError
from edge_glass.training.parquet.row_groups import RowGroups
from edge_glass.training.parquet.row_reader import RowReader, is_utf8
from edge_glass.training.parquet.schemas import IMAGE_BYTES
from edge_glass.training.prepare.templates import RowError, question_answers
from edge_glass.training.stream.batch_layout import BatchLayout
from edge_glass.training.stream.decoding import ImageDecoder
from edge_glass.training.stream.shuffle import EpochShuffle

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OrderConfig:
    """Everything but the data and the epoch that the order of rows depends on.

    Attributes:
        seed: of the run.
        window: number of rows that are shuffled together, see `shuffle`; 0 for the stored order.
        batch_size: over all processes.
        num_microbatches: equal parts of a batch, divided among the processes, see `batch_layout`.
        drop_last: whether to leave out the rows of an epoch that do not fill a batch.
    """

    seed: int
    window: int
    batch_size: int
    num_microbatches: int = 1
    drop_last: bool = True


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """A row that can't be used: its file, its row in the file, a short reason, and the details."""

    file: str
    row: int
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """The part of a batch that belongs to one process: n rows, and those that are errors.

    Attributes:
        epoch: from 0.
        step: in the epoch, from 0.
        numbers: (n,) int64, row numbers counted over the data set.
        columns: from a name to n values; "pairs" are the question-answer pairs, if there is a
            sub-set.
        images: (n, 3, H, W) float32, None without a decoder.
        errors: rows of this batch that can't be used.
    """

    epoch: int
    step: int
    numbers: Tensor
    columns: dict[str, list[Any]]
    images: Tensor | None
    errors: tuple[ErrorRow, ...]


class ParquetDataset(IterableDataset[Batch]):
    """The batches of one process, from (epoch, step) on; `loader` adds workers.

    Args:
        row_groups: from `open_row_groups`.
        order: what the order depends on.
        columns: the columns of a batch, without the image.
        decoder: makes the images; None reads no images.
        subset: a sub-set other than pixmo-cap, whose rows become pairs by `templates`; `columns`
            must then have the columns that these need.
        world_size: number of processes, a divisor of `order.num_microbatches`.
        memory_map: see `RowReader`.

    Raises:
        ValueError: if the processes can't share the microbatches, or the rows fill no batch.
    """

    def __init__(
        self,
        row_groups: RowGroups,
        order: OrderConfig,
        *,
        columns: Sequence[str],
        decoder: ImageDecoder | None = None,
        subset: str | None = None,
        rank: int = 0,
        world_size: int = 1,
        memory_map: bool = True,
    ) -> None:
        if not 0 <= rank < world_size or order.num_microbatches % world_size:
            raise ValueError(
                f"rank {rank} of {world_size} processes can't share {order.num_microbatches} "
                "microbatches: set num_microbatches to a multiple of every process count in use"
            )
        self.row_groups, self.order = row_groups, order
        self.columns, self.decoder, self.subset = tuple(columns), decoder, subset
        self.memory_map = memory_map
        self.layout = BatchLayout(
            num_rows=row_groups.num_rows,
            batch_size=order.batch_size,
            num_microbatches=order.num_microbatches,
            drop_last=order.drop_last,
        )
        share = order.num_microbatches // world_size
        self.microbatches = range(rank * share, (rank + 1) * share)
        self.first, self.stop = 0, self.layout.num_steps  # steps, counted over epochs

    def at(self, *, epoch: int, step: int = 0, num_epochs: int = 1) -> ParquetDataset:
        """Returns the same data set from a step of an epoch to the end of `num_epochs` epochs.

        Raises:
            ValueError: if the epoch has no such step.
        """
        steps = self.layout.num_steps
        if not 0 <= step <= steps or epoch < 0 or num_epochs < 1:
            raise ValueError(
                f"epoch {epoch}, step {step}, {num_epochs} epochs: an epoch has {steps} steps"
            )
        moved = copy.copy(self)
        moved.first, moved.stop = epoch * steps + step, (epoch + num_epochs) * steps
        return moved

    def __len__(self) -> int:
        """Returns the number of batches that are left."""
        return self.stop - self.first

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        names = [*self.columns, *([IMAGE_BYTES] if self.decoder else [])]
        reader = RowReader(self.row_groups, names, memory_map=self.memory_map)
        parts: list[_MicrobatchRows] = []
        steps = self.layout.num_steps
        for total in range(self.first + worker, self.stop, num_workers):
            epoch, step = divmod(total, steps)
            if not parts or parts[0].epoch != epoch:
                shuffle = EpochShuffle(
                    self.row_groups.rows,
                    seed=self.order.seed,
                    epoch=epoch,
                    window=self.order.window,
                )
                parts = [
                    _MicrobatchRows(self, reader, shuffle, epoch, microbatch, num_workers)
                    for microbatch in self.microbatches
                ]
            yield self._batch(epoch, step, [row for part in parts for row in part.take(step)])

    def _batch(self, epoch: int, step: int, rows: list[tuple[int, Row]]) -> Batch:
        numbers: list[int] = []
        images: list[Tensor] = []
        errors: list[ErrorRow] = []
        columns: dict[str, list[Any]] = {name: [] for name in self.columns}
        if self.subset is not None:
            columns["pairs"] = []
        for number, row in rows:
            try:
                if not is_utf8(row):
                    raise RowError("not_utf8", "a text is not UTF-8")
                if self.subset is not None:
                    row["pairs"] = question_answers(
                        self.subset, row, seed=self.order.seed, index=number
                    )
                if self.decoder is not None:
                    images.append(self.decoder((row["image"] or {}).get("bytes")))
            except (BadImageError, RowError) as error:
                path, file_row = self.row_groups.locate(number)
                errors.append(
                    ErrorRow(file=str(path), row=file_row, reason=error.reason, detail=str(error))
                )
                continue
            numbers.append(number)
            for name, values in columns.items():
                values.append(row[name])
        pixels = None
        if self.decoder is not None:
            side = self.decoder.transform.image_size
            pixels = torch.stack(images) if images else torch.empty(0, 3, side, side)
        return Batch(
            epoch=epoch, step=step, numbers=torch.tensor(numbers, dtype=torch.int64),
            columns=columns, images=pixels, errors=tuple(errors),
        )  # fmt: skip


class _MicrobatchRows:
    """The rows of one microbatch in one epoch, read a block at a time, for every W-th step."""

    def __init__(
        self,
        dataset: ParquetDataset,
        reader: RowReader,
        shuffle: EpochShuffle,
        epoch: int,
        microbatch: int,
        num_workers: int,
    ) -> None:
        self.epoch = epoch
        self._starts = dataset.row_groups.starts
        self._layout, self._reader, self._shuffle = dataset.layout, reader, shuffle
        self._microbatch, self._num_workers = microbatch, num_workers
        self._held: dict[int, tuple[int, Row]] = {}

    def take(self, step: int) -> Iterator[tuple[int, Row]]:
        """Yields the rows of a step with their numbers; call it with ascending steps."""
        for position in self._layout.positions(step, self._microbatch):
            if position not in self._held:
                self._read_block(position, step)
            yield self._held.pop(position)

    def _read_block(self, position: int, step: int) -> None:
        block = self._shuffle.block_at(position)
        positions = np.arange(block.first, block.stop)
        steps, microbatches = self._layout.steps_and_microbatches(positions)
        wanted = (
            (microbatches == self._microbatch)
            & (steps >= step)
            & (steps < self._layout.num_steps)
            & ((steps - step) % self._num_workers == 0)
            & (positions >= position)
        )
        positions, groups, rows = positions[wanted], block.group[wanted], block.row[wanted]
        for group in np.unique(groups):
            inside = np.flatnonzero(groups == group)
            inside = inside[np.argsort(rows[inside])]
            read = self._reader.read(int(group), rows[inside])
            for index, row in zip(inside, read, strict=True):
                number = int(self._starts[group] + rows[index])
                self._held[int(positions[index])] = (number, row)


def loader(
    dataset: ParquetDataset, *, num_workers: int = 0, prefetch_factor: int | None = None
) -> DataLoader[Batch]:
    """Returns a loader of the batches of a data set, in the order of steps.

    Args:
        dataset: from `ParquetDataset(...).at(epoch=..., step=...)`.
        num_workers: number of worker processes; 0 makes the batches in this process.
        prefetch_factor: number of batches that each worker makes ahead; torch's default is 2.
    """
    return DataLoader(
        dataset, batch_size=None, num_workers=num_workers, prefetch_factor=prefetch_factor
    )
