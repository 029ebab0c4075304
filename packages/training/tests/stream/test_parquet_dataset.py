"""The same batches at any worker and process count, and from any step on."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.training.parquet.row_groups import RowGroups, open_row_groups
from edge_glass.training.parquet.row_reader import RowReader
from edge_glass.training.parquet.schemas import IMAGE, POINTS
from edge_glass.training.prepare.templates import question_answers
from edge_glass.training.stream import parquet_dataset
from edge_glass.training.stream.batch_layout import BatchLayout
from edge_glass.training.stream.decoding import ImageDecoder
from edge_glass.training.stream.parquet_dataset import Batch, OrderConfig, ParquetDataset, loader
from parquet_files import jpeg, write_files

FILES = [(7, 7, 2), (9,), (5, 11, 1, 6), (12, 3)]  # 63 rows
GREYS = ImageDecoder(
    transform=ImageTransform(image_size=4, fit="crop", mean=(0.0,) * 3, std=(1 / 255,) * 3)
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> RowGroups:
    folder = tmp_path_factory.mktemp("loading")
    assert write_files(folder, FILES, images=True) == 63
    return open_row_groups(folder)


def dataset(
    index: RowGroups, rank: int = 0, world_size: int = 1, **order: object
) -> ParquetDataset:
    options = {"seed": 1, "window": 20, "batch_size": 8, "num_microbatches": 4, **order}
    return ParquetDataset(
        index,
        OrderConfig(**options),  # type: ignore[arg-type]
        columns=["caption"],
        decoder=GREYS,
        rank=rank,
        world_size=world_size,
    )


def rows(batches: Iterable[Batch]) -> list[tuple[int, int, list[int]]]:
    return [(batch.epoch, batch.step, batch.numbers.tolist()) for batch in batches]


@pytest.mark.parametrize("num_microbatches", [1, 4])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("window", [0, 20, 1000])
def test_an_epoch_has_each_row_once(
    index: RowGroups, num_microbatches: int, drop_last: bool, window: int
) -> None:
    data = dataset(index, num_microbatches=num_microbatches, drop_last=drop_last, window=window)
    seen = [number for _, _, numbers in rows(data.at(epoch=3)) for number in numbers]
    assert len(seen) == (56 if drop_last else 63)
    assert len(set(seen)) == len(seen)
    if num_microbatches == 1 and window == 0:
        assert seen == list(range(len(seen)))


def test_columns_and_images_are_those_of_the_row(index: RowGroups) -> None:
    for batch in dataset(index):
        assert batch.images is not None
        assert batch.columns["caption"] == [f"row {number}" for number in batch.numbers]
        # an image of one grey level: JPEG changes it by at most one level
        grey = batch.images.mean(dim=(1, 2, 3))
        torch.testing.assert_close(grey, batch.numbers.float(), rtol=0, atol=1)
        assert not batch.errors


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_batches_of_one(
    index: RowGroups, world_size: int, drop_last: bool
) -> None:
    alone = rows(dataset(index, drop_last=drop_last).at(epoch=0, num_epochs=2))
    parts = [
        rows(dataset(index, rank, world_size, drop_last=drop_last).at(epoch=0, num_epochs=2))
        for rank in range(world_size)
    ]
    for whole, *shares in zip(alone, *parts, strict=True):
        assert all(share[:2] == whole[:2] for share in shares)
        assert [number for share in shares for number in share[2]] == whole[2]


def test_every_step_can_be_resumed(index: RowGroups) -> None:
    data = dataset(index, drop_last=False)
    whole = rows(data.at(epoch=0, num_epochs=2))
    steps = data.layout.num_steps
    assert len(whole) == 2 * steps == 16
    for done in range(steps):
        tail = data.at(epoch=0, step=done, num_epochs=2)
        assert rows(tail) == whole[done:]
        assert len(tail) == len(whole) - done
    assert rows(data.at(epoch=1)) == whole[steps:]


def test_workers_change_nothing(index: RowGroups) -> None:
    data = pickle.loads(pickle.dumps(dataset(index)))  # noqa: S301 - as spawned workers get it
    start = data.at(epoch=0, step=2, num_epochs=2)
    expected = list(start)
    for num_workers in (1, 2):
        got = list(loader(start, num_workers=num_workers))
        assert rows(got) == rows(expected)
        for batch, same in zip(got, expected, strict=True):
            torch.testing.assert_close(batch.images, same.images, rtol=0, atol=0)
            assert batch.columns == same.columns


def test_with_one_microbatch_the_order_does_not_depend_on_batch_size(index: RowGroups) -> None:
    def order(batch_size: int) -> list[int]:
        data = dataset(index, num_microbatches=1, batch_size=batch_size, drop_last=False)
        return [number for _, _, numbers in rows(data) for number in numbers]

    assert order(8) == order(5) == order(63)


def test_a_row_group_is_read_once_and_by_its_owner_alone(
    index: RowGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[int] = Counter()
    held: list[int] = []
    plain_read, plain_take = RowReader.read, parquet_dataset._MicrobatchRows.take

    def count(self: object, group: int, wanted: object) -> object:
        read[group] += 1
        return plain_read(self, group, wanted)  # type: ignore[arg-type]

    def measure(self: object, step: int) -> object:
        for row in plain_take(self, step):  # type: ignore[arg-type]
            held.append(len(self._held))  # type: ignore[attr-defined]
            yield row

    monkeypatch.setattr(RowReader, "read", count)
    monkeypatch.setattr(parquet_dataset._MicrobatchRows, "take", measure)
    list(dataset(index, num_microbatches=1, drop_last=False))
    assert read == dict.fromkeys(range(len(index.rows)), 1)
    assert max(held) < 20  # the window
    read.clear()
    for rank in range(4):
        list(dataset(index, rank, 4, drop_last=False))
    # the section of a microbatch ends inside a block of at most 20 rows, which the next microbatch
    # reads too, and the last batch has rows of all
    assert max(read.values()) <= 6
    assert read.total() <= 2.5 * len(index.rows)


def test_bad_images_are_error_rows(tmp_path: Path) -> None:
    images = [{"bytes": jpeg(i, (64, 64)), "path": None} for i in range(6)]
    images[1]["bytes"] = images[1]["bytes"][:-30]  # type: ignore[index]
    images[2]["bytes"] = b"<html>"
    images[4] = None  # type: ignore[call-overload]
    schema = pa.schema([("caption", pa.string()), ("image", IMAGE)])
    table = pa.table({"caption": list("abcdef"), "image": images}, schema)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    order = OrderConfig(seed=0, window=0, batch_size=6)
    data = ParquetDataset(open_row_groups(tmp_path), order, columns=["caption"], decoder=GREYS)
    (batch,) = data
    assert batch.columns["caption"] == ["a", "d", "f"]
    assert batch.numbers.tolist() == [0, 3, 5]
    assert batch.images is not None
    assert len(batch.images) == 3
    assert [(error.row, error.reason) for error in batch.errors] == [
        (1, "truncated_image"),
        (2, "not_an_image"),
        (4, "missing_image"),
    ]
    assert {error.file for error in batch.errors} == {str(tmp_path / "a.parquet")}


def test_points_become_pairs_by_the_templates(tmp_path: Path) -> None:
    points = [[{"x": 10.0, "y": 20.0}], [{"x": 200.0, "y": 0.0}], []]
    schema = pa.schema([("points", POINTS), ("count", pa.int64()), ("label", pa.string())])
    table = pa.table({"points": points, "count": [1, 1, 0], "label": ["cup"] * 3}, schema)
    pq.write_table(table, tmp_path / "a.parquet")
    order = OrderConfig(seed=5, window=3, batch_size=3)
    columns = ["points", "count", "label"]
    index = open_row_groups(tmp_path)
    (batch,) = ParquetDataset(index, order, columns=columns, subset="pixmo-points")
    assert batch.images is None
    assert sorted(batch.numbers.tolist()) == [0, 2]
    for number, pairs in zip(batch.numbers.tolist(), batch.columns["pairs"], strict=True):
        row = table.slice(number, 1).to_pylist()[0]
        assert pairs == question_answers("pixmo-points", row, seed=5, index=number)
    assert [(error.row, error.reason) for error in batch.errors] == [(1, "point_outside")]


@pytest.mark.parametrize("sizes", [(63, 8, 4, True), (63, 8, 4, False), (5, 8, 1, False)])
def test_the_layout_and_its_inverse(sizes: tuple[int, int, int, bool]) -> None:
    num_rows, batch_size, num_microbatches, drop_last = sizes
    layout = BatchLayout(
        num_rows=num_rows,
        batch_size=batch_size,
        num_microbatches=num_microbatches,
        drop_last=drop_last,
    )
    steps, microbatches = layout.steps_and_microbatches(np.arange(num_rows))
    for step in range(layout.num_steps):
        for microbatch in range(num_microbatches):
            found = np.flatnonzero((steps == step) & (microbatches == microbatch))
            assert found.tolist() == list(layout.positions(step, microbatch))
    assert (steps == layout.num_steps).sum() == (layout.rest if drop_last else 0)


def test_impossible_sizes_are_refused(index: RowGroups) -> None:
    with pytest.raises(ValueError, match="rank 0 of 3 processes can't share 4 microbatches"):
        dataset(index, 0, 3)
    with pytest.raises(ValueError, match="batch_size 6 is not a multiple of num_microbatches 4"):
        dataset(index, batch_size=6)
    with pytest.raises(ValueError, match="only 63 rows"):
        dataset(index, batch_size=64)
    with pytest.raises(ValueError, match="the last batch has 3 rows for 4 microbatches"):
        dataset(index, batch_size=20, drop_last=False)
    with pytest.raises(ValueError, match="an epoch has 7 steps"):
        dataset(index).at(epoch=0, step=8)
