"""An array in shards that is indexed like one array: by row, by slice, or by an array of rows.

What is unusual: a shard is opened (memory-mapped) when one of its rows is first needed, and only
the shards that were used last stay open.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge_glass.encoders.files import DataError
from edge_glass.training.features.shards import REMEDY, check_content, read_shard_index

OPEN_AT_A_TIME = 64


class ShardedArray:
    """A read-only array; indexing returns copies.

    Args:
        verify: also checks every byte by the checksums now; sizes are always checked.

    Attributes:
        index: of the shards.
    """

    def __init__(self, folder: Path, name: str, *, verify: bool = False) -> None:
        self.folder, self.name = folder, name
        self.index = read_shard_index(folder / f"{name}.json")
        if verify:
            for entry in self.index.shards:
                check_content(folder, entry)
        self._lock = threading.Lock()  # threads read ahead
        self._open: OrderedDict[int, NDArray[Any]] = OrderedDict()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.index.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.index.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        numbers = np.asarray(rows)
        if numbers.dtype.kind not in "iu" and numbers.size:
            raise TypeError(f"rows are of type {numbers.dtype}, expected whole numbers or a slice")
        numbers = numbers.astype(np.int64)
        wrong = (numbers < -len(self)) | (numbers >= len(self))
        if wrong.any():
            raise IndexError(f"row {numbers[wrong].flat[0]} of {len(self)} in {self.folder}")
        flat = np.where(numbers < 0, numbers + len(self), numbers).reshape(-1)
        shards, offsets = np.divmod(flat, self.index.rows_per_shard)
        taken = np.empty((len(flat), *self.shape[1:]), self.dtype)
        for shard in np.unique(shards).tolist():
            here = shards == shard
            taken[here] = self._shard(shard)[offsets[here]]
        return taken.reshape(*numbers.shape, *self.shape[1:])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # a different process opens the files itself: pickling a mapped array would copy its content
        return type(self), (self.folder, self.name)

    def _shard(self, number: int) -> NDArray[Any]:
        with self._lock:
            return self._opened(number)

    def _opened(self, number: int) -> NDArray[Any]:
        found = self._open.get(number)
        if found is None:
            entry = self.index.shards[number]
            path = self.folder / entry.file
            try:
                found = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise DataError(f"{path}: cannot be read ({error}): {REMEDY}") from error
            expected = (entry.rows, *self.shape[1:])
            if (found.shape, found.dtype) != (expected, self.dtype):
                raise DataError(
                    f"{path}: found shape {found.shape} of {found.dtype}, expected {expected} of "
                    f"{self.dtype}: {REMEDY}"
                )
            self._open[number] = found
            while len(self._open) > OPEN_AT_A_TIME:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return found
