"""A large array in files of equally many rows, and a small index. A file is complete or absent.

`NAME-00000.npy`, `NAME-00001.npy` ... are plain NumPy files with the rows of the array in order.
`NAME.json` holds shape, dtype, rows per shard, and the size and SHA-256 of each file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_glass.encoders.files import DataError, replacing, sha256_of, write_json
from edge_glass.training.features.write_behind import writing_behind

REMEDY = "run `dvc repro encode`, which writes a new cache"


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One file: its name, rows, size in bytes and SHA-256 in hex."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """The content of `NAME.json`; every shard but the last has `rows_per_shard` rows."""

    shape: tuple[int, ...]
    dtype: str
    rows_per_shard: int
    shards: tuple[ShardEntry, ...]

    def save(self, path: Path) -> None:
        """Writes the index."""
        write_json(path, dataclasses.asdict(self))


def read_shard_index(path: Path) -> ShardIndex:
    """Reads an index; checks that it is consistent and that the files have the recorded sizes."""
    try:
        raw = json.loads(path.read_text())
        index = ShardIndex(
            shape=tuple(map(int, raw["shape"])),
            dtype=np.dtype(raw["dtype"]).name,
            rows_per_shard=int(raw["rows_per_shard"]),
            shards=tuple(ShardEntry(**entry) for entry in raw["shards"]),
        )
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such array in the feature cache: {REMEDY}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the index of an array ({error}): {REMEDY}") from error
    expected = shard_sizes(index.shape[0], index.rows_per_shard)
    if [entry.rows for entry in index.shards] != expected:
        raise DataError(
            f"{path}: found shards of {[entry.rows for entry in index.shards]} rows, expected "
            f"{expected} for shape {index.shape}: {REMEDY}"
        )
    for entry in index.shards:
        check_size(path.parent, entry)
    return index


def check_size(folder: Path, entry: ShardEntry) -> None:
    """Checks that the file of a shard exists with the recorded size."""
    path = folder / entry.file
    found = path.stat().st_size if path.is_file() else None
    if found != entry.bytes:
        what = "is missing" if found is None else f"found {found} bytes"
        raise DataError(f"{path}: {what}, expected {entry.bytes} bytes: {REMEDY}")


def check_content(folder: Path, entry: ShardEntry) -> None:
    """Checks the size and the checksum of a shard's file."""
    check_size(folder, entry)
    found = sha256_of(folder / entry.file)
    if found != entry.sha256:
        raise DataError(
            f"{folder / entry.file}: found SHA-256 {found}, expected {entry.sha256}: the file is "
            f"damaged: {REMEDY}"
        )


def shard_sizes(rows: int, rows_per_shard: int) -> list[int]:
    """Returns the number of rows of each shard of an array."""
    return [min(rows_per_shard, rows - start) for start in range(0, rows, rows_per_shard)]


def shard_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """Returns the first bytes of a shard's file, in NumPy's format."""
    header = io.BytesIO()
    description: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def shard_bytes(shape: tuple[int, ...], dtype: str) -> int:
    """Returns the size of a shard's file in bytes."""
    return len(shard_header(shape, dtype)) + int(np.prod(shape)) * np.dtype(dtype).itemsize


def write_shard(
    path: Path, scratch: Path, shape: tuple[int, ...], dtype: str, parts: Iterable[NDArray[Any]]
) -> ShardEntry:
    """Writes one shard and its checksum; the file appears when it is complete and on the disk.

    The parts are the rows in order, some at a time, and are rounded to `dtype`; none changes after
    it was given. `scratch` is a folder on the same disk for the unfinished file.
    """
    header, size = shard_header(shape, dtype), shard_bytes(shape, dtype)
    digest, rows = hashlib.sha256(header), 0
    with replacing(path, scratch) as temporary, temporary.open("wb") as file:
        # reserves the space: a full disk is an error now, not after an hour of encoding
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, size)
        file.write(header)
        with writing_behind(file, digest) as add:
            for part in parts:
                if part.shape[1:] != shape[1:]:
                    raise DataError(
                        f"{path}: found rows of shape {part.shape[1:]}, expected {shape[1:]}"
                    )
                add(np.asarray(part, dtype=np.dtype(dtype)))
                rows += len(part)
        if rows != shape[0]:
            raise DataError(f"{path}: found {rows} rows, expected {shape[0]}")
    return ShardEntry(file=path.name, rows=rows, bytes=size, sha256=digest.hexdigest())
