"""An array in shards that is indexed like one array: by row, by slice, or by an array of rows.

What is unusual: a shard is opened when one of its rows is first needed, and only the shards that
were used last stay open. Rows are read, not memory-mapped: pages of mapped files would count as
memory of the process, up to the size of the whole cache.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge_glass.encoders.files import DataError
from edge_glass.training.features.shards import REMEDY, check_content, read_shard_index

OPEN_AT_A_TIME = 64


class _Shard:
    """An open file of rows, which is closed when nothing refers to it any more.

    Args:
        path: an .npy file, as `write_shard` writes it.
        shape, dtype: that it must have.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path
        try:
            file = path.open("rb", buffering=0)
            weakref.finalize(self, file.close)
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"version {version} of the format, expected (1, 0)")
            found = np.lib.format.read_array_header_1_0(file)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}): {REMEDY}") from error
        if found != (shape, False, dtype):
            order = " in Fortran order" if found[1] else ""
            raise DataError(
                f"{path}: found shape {found[0]} of {found[2]}{order}, expected {shape} of "
                f"{dtype}: {REMEDY}"
            )
        self._number, self._start = file.fileno(), file.tell()

    def read(self, row: int, into: NDArray[Any]) -> None:
        """Reads a row into an array of its shape; threads may do so at once."""
        data = into.reshape(-1).view(np.uint8).data
        at, done = self._start + row * into.nbytes, 0
        while done < len(data):
            try:
                size = os.preadv(self._number, [data[done:]], at + done)
            except OSError as error:
                raise DataError(f"{self.path}: cannot be read ({error})") from error
            if size == 0:
                raise DataError(
                    f"{self.path}: found {done} bytes of row {row}, expected {len(data)}: {REMEDY}"
                )
            done += size


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
        self._open: OrderedDict[int, _Shard] = OrderedDict()

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
        taken = np.empty((len(flat), *self.shape[1:]), self.dtype)
        for place in flat.argsort(kind="stable").tolist():  # each shard once, from front to back
            shard, offset = divmod(int(flat[place]), self.index.rows_per_shard)
            self._shard(shard).read(offset, taken[place, ...])
        return taken.reshape(*numbers.shape, *self.shape[1:])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # a different process opens the files itself
        return type(self), (self.folder, self.name)

    def _shard(self, number: int) -> _Shard:
        with self._lock:
            found = self._open.get(number)
            if found is None:
                entry = self.index.shards[number]
                shape = (entry.rows, *self.shape[1:])
                found = self._open[number] = _Shard(self.folder / entry.file, shape, self.dtype)
                while len(self._open) > OPEN_AT_A_TIME:
                    self._open.popitem(last=False)
            self._open.move_to_end(number)
            return found
