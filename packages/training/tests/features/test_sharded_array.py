"""Features in shards read like one array, and damage is named."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_glass.encoders.files import DataError
from edge_glass.training.features import sharded_array
from edge_glass.training.features.sharded_array import ShardedArray
from edge_glass.training.features.shards import (
    ShardIndex,
    shard_bytes,
    shard_sizes,
    write_shard,
)
from edge_glass.training.features.write_behind import writing_behind


def write(folder: Path, array: NDArray[Any], rows_per_shard: int, dtype: str = "float16") -> None:
    starts = range(0, len(array), rows_per_shard)
    entries = []
    for number, start in enumerate(starts):
        rows = array[start : start + rows_per_shard]
        parts = [rows[at : at + 2] for at in range(0, len(rows), 2)]
        path = folder / f"vision-{number:05d}.npy"
        entries.append(write_shard(path, folder / "scratch", rows.shape, dtype, parts))
    index = ShardIndex(
        shape=array.shape, dtype=dtype, rows_per_shard=rows_per_shard, shards=tuple(entries)
    )
    index.save(folder / "vision.json")


@pytest.fixture
def values() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(23, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("rows_per_shard", [1, 6, 23, 100])
def test_it_reads_like_an_array(
    tmp_path: Path, values: NDArray[np.float32], dtype: str, rows_per_shard: int
) -> None:
    write(tmp_path, values, rows_per_shard, dtype)
    expected = values.astype(dtype)
    array = ShardedArray(tmp_path, "vision", verify=True)
    assert (array.shape, array.dtype, array.ndim, len(array)) == ((23, 3, 4), dtype, 3, 23)
    draws = np.random.default_rng(1).integers(-23, 23, size=50)
    keys: list[Any] = [draws, draws.reshape(5, 10), 0, -1, np.int64(7), slice(4, 20, 3)]
    for key in [*keys, slice(None), [3, 3, 22], np.array([], int)]:
        found = array[key]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected[key])
    np.testing.assert_array_equal(np.asarray(array), expected)
    again = pickle.loads(pickle.dumps(array))  # noqa: S301 - what a loader's worker gets
    np.testing.assert_array_equal(again[draws], expected[draws])
    assert len(pickle.dumps(array)) < 500
    for wrong in (23, -24, [0, 99]):
        with pytest.raises(IndexError, match="of 23"):
            array[wrong]
    with pytest.raises(TypeError, match="expected whole numbers"):
        array[np.ones(23, bool)]


def test_few_shards_are_open_at_a_time(
    tmp_path: Path, values: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded_array, "OPEN_AT_A_TIME", 3)
    write(tmp_path, values, 2)
    array = ShardedArray(tmp_path, "vision")

    def opened() -> set[str]:
        links = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
        return {str(each.readlink()) for each in links} & set(map(str, tmp_path.iterdir()))

    assert not opened()
    for row in range(23):
        np.testing.assert_array_equal(array[row], values[row].astype(np.float16))
        assert 1 <= len(opened()) <= 3
    assert str(tmp_path / "vision-00011.npy") in opened()
    # read, not mapped: mapped pages would count as memory of the process
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    del array
    assert not opened()


def test_threads_read_while_files_are_opened_and_closed(
    tmp_path: Path, values: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded_array, "OPEN_AT_A_TIME", 1)
    write(tmp_path, values, 2)
    array, expected = ShardedArray(tmp_path, "vision"), values.astype(np.float16)
    draws = np.random.default_rng(0).integers(0, 23, size=(40, 16))
    with ThreadPoolExecutor(4) as pool:
        for rows, found in zip(draws, pool.map(array.__getitem__, draws), strict=True):
            np.testing.assert_array_equal(found, expected[rows])


def test_a_read_in_parts_is_completed_and_an_error_names_the_file(
    tmp_path: Path, values: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, values, 10)
    array, read = ShardedArray(tmp_path, "vision"), os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, into, at: read(file, [into[0][:5]], at))
    np.testing.assert_array_equal(array[3:5], values[3:5].astype(np.float16))

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(DataError, match=r"00000\.npy: cannot be read \(.*Input/output error"):
        array[3]


def test_a_file_that_shrinks_after_it_was_opened_is_named(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    write(tmp_path, values, 10)
    array = ShardedArray(tmp_path, "vision")
    array[0]
    os.truncate(tmp_path / "vision-00000.npy", 200)
    with pytest.raises(DataError, match=r"00000\.npy: found 0 bytes of row 9, expected 24"):
        array[9]


def test_files_are_numpy_s_and_the_index_names_them(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    write(tmp_path, values, 10)
    index = ShardedArray(tmp_path, "vision").index
    assert [entry.rows for entry in index.shards] == shard_sizes(23, 10) == [10, 10, 3]
    for number, entry in enumerate(index.shards):
        path = tmp_path / entry.file
        rows = values[10 * number : 10 * number + 10].astype(np.float16)
        np.testing.assert_array_equal(np.load(path), rows)
        data = path.read_bytes()
        assert len(data) == entry.bytes == shard_bytes(rows.shape, "float16")
        assert hashlib.sha256(data).hexdigest() == entry.sha256
    assert not list((tmp_path / "scratch").iterdir())


def test_damage_is_named(tmp_path: Path, values: NDArray[np.float32]) -> None:
    write(tmp_path, values, 10)
    path = tmp_path / "vision-00001.npy"
    whole = path.read_bytes()

    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"00001\.npy: found 367 bytes, expected 368 .*`dvc repro"):
        ShardedArray(tmp_path, "vision")
    path.unlink()
    with pytest.raises(DataError, match=r"00001\.npy: is missing, expected 368 bytes"):
        ShardedArray(tmp_path, "vision")
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    ShardedArray(tmp_path, "vision")  # the size is right
    with pytest.raises(DataError, match=r"00001\.npy: found SHA-256 \w+, expected \w+"):
        ShardedArray(tmp_path, "vision", verify=True)
    path.write_bytes(b"\0" * len(whole))
    with pytest.raises(DataError, match=r"00001\.npy: cannot be read"):
        ShardedArray(tmp_path, "vision")[12]
    np.save(path, np.asfortranarray(values[10:20].astype(np.float16)))
    with pytest.raises(DataError, match=r"of float16 in Fortran order, expected \(10, 3, 4"):
        ShardedArray(tmp_path, "vision")[12]
    other = np.zeros((5, 6, 4), np.float16)
    np.save(path, other)
    with pytest.raises(DataError, match=r"found shape \(5, 6, 4\) of float16, expected \(10, 3, 4"):
        ShardedArray(tmp_path, "vision")[12]

    text = (tmp_path / "vision.json").read_text()
    (tmp_path / "vision.json").write_text(text.replace('"rows": 3', '"rows": 4'))
    with pytest.raises(DataError, match=r"shards of \[10, 10, 4\] rows, expected \[10, 10, 3\]"):
        ShardedArray(tmp_path, "vision")
    (tmp_path / "vision.json").write_text("{}")
    with pytest.raises(DataError, match="not the index of an array"):
        ShardedArray(tmp_path, "vision")
    with pytest.raises(DataError, match=r"text\.json: there is no such array"):
        ShardedArray(tmp_path, "text")


def test_rows_that_are_not_what_was_said_leave_nothing(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    path = tmp_path / "vision-00000.npy"
    for parts, message in (
        ([values[:9]], "found 9 rows, expected 10"),
        ([values[:9, :2]], r"found rows of shape \(2, 4\), expected \(3, 4\)"),
    ):
        with pytest.raises(DataError, match=message):
            write_shard(path, tmp_path / "scratch", (10, 3, 4), "float16", parts)
    assert not path.exists()
    assert not list((tmp_path / "scratch").iterdir())


def test_a_write_that_fails_in_its_thread_is_an_error(values: NDArray[np.float32]) -> None:
    class Full(io.BytesIO):
        """Has room for one part."""

        def write(self, data: Any) -> int:
            if self.tell():
                raise OSError(errno.ENOSPC, "no space left")
            return super().write(data)

    def write_two_parts() -> None:
        with writing_behind(Full(), hashlib.sha256()) as add:
            add(values[:5])
            add(values[5:10])

    with pytest.raises(OSError, match="no space left"):
        write_two_parts()


def test_a_system_without_posix_fallocate_writes_the_same_bytes(
    tmp_path: Path, values: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "linux", values, 4)
    monkeypatch.delattr(os, "posix_fallocate")  # macOS
    write(tmp_path / "macos", values, 4)
    for path in (tmp_path / "linux").glob("*.*"):
        assert path.read_bytes() == (tmp_path / "macos" / path.name).read_bytes()
