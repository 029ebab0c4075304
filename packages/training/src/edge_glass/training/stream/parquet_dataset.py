"""Batches from Parquet row groups: the same ones in the same order at any worker or process count.

Which rows a batch holds is a function of (seed, epoch, step), the window and the sizes in
`OrderConfig`; so a run goes on at any step by naming it, and nothing is skipped over or replayed.
Each worker makes every W-th batch. Of a block it reads the row groups one after the other and keeps
the rows of its own batches only, so all workers together hold a window's rows for each shard, and
each of them a few hundred rows of a row group beside that.
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
from edge_glass.training.parquet.row_reader import RowReader
from edge_glass.training.prepare.templates import RowError, question_answers
from edge_glass.training.stream.batch_layout import BatchLayout
from edge_glass.training.stream.decoding import PictureDecoder
from edge_glass.training.stream.shuffle import EpochShuffle

PICTURE = "image.bytes"
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OrderConfig:
    """All that the order of rows depends on, beside the data and the epoch.

    Attributes:
        seed: of the run.
        window: rows that are shuffled among each other, see `shuffle`; 0 for the stored order.
        batch_size: over all processes.
        num_shards: equal parts of a batch, shared out among processes; see `batch_layout`.
        drop_last: whether rows that make no whole batch are left out of an epoch.
    """

    seed: int
    window: int
    batch_size: int
    num_shards: int = 1
    drop_last: bool = True


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """A row that can't be used: its file, its row there, a reason to count by, and the details."""

    file: str
    row: int
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One process's part of a batch: n rows, and those that are errors.

    Attributes:
        epoch: from 0.
        step: in the epoch, from 0.
        numbers: (n,) int64 rows, counted over the data set.
        columns: name to n values; "pairs" are the question-answer pairs where a sub-set is named.
        images: (n, 3, H, W) float32, None without a decoder.
        errors: rows that would have been here too.
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
        columns: to hand over; the picture's bytes are no such column.
        decoder: makes the images; None reads no pictures.
        subset: a sub-set other than pixmo-cap, whose rows become pairs by `templates`; name the
            columns that these need.
        rank: of this process.
        world_size: processes, a divisor of `order.num_shards`.
        memory_map: see `RowReader`.

    Raises:
        ValueError: where the processes can't share the shards, or rows make no batch.
    """

    def __init__(
        self,
        row_groups: RowGroups,
        order: OrderConfig,
        *,
        columns: Sequence[str],
        decoder: PictureDecoder | None = None,
        subset: str | None = None,
        rank: int = 0,
        world_size: int = 1,
        memory_map: bool = True,
    ) -> None:
        if not 0 <= rank < world_size or order.num_shards % world_size:
            raise ValueError(
                f"rank {rank} of {world_size} processes can't share {order.num_shards} shards: "
                "set num_shards to a multiple of every process count that you will use"
            )
        self.row_groups, self.order = row_groups, order
        self.columns, self.decoder, self.subset = tuple(columns), decoder, subset
        self.memory_map = memory_map
        self.layout = BatchLayout(
            num_rows=row_groups.num_rows,
            batch_size=order.batch_size,
            num_shards=order.num_shards,
            drop_last=order.drop_last,
        )
        share = order.num_shards // world_size
        self.shards = range(rank * share, (rank + 1) * share)
        self.first, self.stop = 0, self.layout.num_steps  # steps, counted over epochs

    def at(self, *, epoch: int, step: int = 0, num_epochs: int = 1) -> ParquetDataset:
        """Returns the same data set from a step of an epoch on, to the end of `num_epochs` epochs.

        Raises:
            ValueError: where the epoch has no such step.
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
        """Batches that are left."""
        return self.stop - self.first

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        names = [*self.columns, *([PICTURE] if self.decoder else [])]
        reader = RowReader(self.row_groups, names, memory_map=self.memory_map)
        shards: list[_ShardRows] = []
        steps = self.layout.num_steps
        for total in range(self.first + worker, self.stop, num_workers):
            epoch, step = divmod(total, steps)
            if not shards or shards[0].epoch != epoch:
                shuffle = EpochShuffle(
                    self.row_groups.rows,
                    seed=self.order.seed,
                    epoch=epoch,
                    window=self.order.window,
                )
                shards = [
                    _ShardRows(self, reader, shuffle, epoch, shard, num_workers)
                    for shard in self.shards
                ]
            yield self._batch(epoch, step, [row for shard in shards for row in shard.take(step)])

    def _batch(self, epoch: int, step: int, rows: list[tuple[int, Row]]) -> Batch:
        numbers: list[int] = []
        images: list[Tensor] = []
        errors: list[ErrorRow] = []
        columns: dict[str, list[Any]] = {name: [] for name in self.columns}
        if self.subset is not None:
            columns["pairs"] = []
        for number, row in rows:
            try:
                if self.subset is not None:
                    row["pairs"] = question_answers(
                        self.subset, row, seed=self.order.seed, index=number
                    )
                if self.decoder is not None:
                    images.append(self.decoder((row["image"] or {}).get("bytes")))
            except (BadImageError, RowError) as error:
                path, place = self.row_groups.place(number)
                errors.append(
                    ErrorRow(file=str(path), row=place, reason=error.reason, detail=str(error))
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


class _ShardRows:
    """The rows of one shard in one epoch, read a block at a time, for every W-th step."""

    def __init__(
        self,
        dataset: ParquetDataset,
        reader: RowReader,
        shuffle: EpochShuffle,
        epoch: int,
        shard: int,
        num_workers: int,
    ) -> None:
        self.epoch = epoch
        self._starts = dataset.row_groups.starts
        self._layout, self._reader, self._shuffle = dataset.layout, reader, shuffle
        self._shard, self._num_workers = shard, num_workers
        self._held: dict[int, tuple[int, Row]] = {}

    def take(self, step: int) -> Iterator[tuple[int, Row]]:
        """Yields the rows of a step with their numbers; steps come in rising order."""
        for position in self._layout.positions(step, self._shard):
            if position not in self._held:
                self._read_block(position, step)
            yield self._held.pop(position)

    def _read_block(self, position: int, step: int) -> None:
        block = self._shuffle.block_at(position)
        positions = np.arange(block.first, block.stop)
        steps, shards = self._layout.steps_and_shards(positions)
        wanted = (
            (shards == self._shard)
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
            for place, row in zip(inside, read, strict=True):
                number = int(self._starts[group] + rows[place])
                self._held[int(positions[place])] = (number, row)


def loader(
    dataset: ParquetDataset, *, num_workers: int = 0, prefetch_factor: int | None = None
) -> DataLoader[Batch]:
    """Returns the batches of a data set, made by `num_workers` processes, in the order of steps.

    Args:
        dataset: from `ParquetDataset(...).at(epoch=..., step=...)`.
        num_workers: 0 makes them here.
        prefetch_factor: batches that each worker makes ahead; torch's default is 2.
    """
    return DataLoader(
        dataset, batch_size=None, num_workers=num_workers, prefetch_factor=prefetch_factor
    )
