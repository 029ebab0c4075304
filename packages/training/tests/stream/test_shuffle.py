"""The order of an epoch: a permutation, within its window, computed at any position at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_glass.training.parquet.row_groups import Integers
from edge_glass.training.stream.shuffle import EpochShuffle


def rows_in_order(shuffle: EpochShuffle, rows: Integers) -> Integers:
    """All rows of an epoch, counted over the data set."""
    starts = np.cumsum(rows) - rows
    got, position = [], 0
    while position < shuffle.num_rows:
        block = shuffle.block_at(position)
        assert block.first == position
        got.append(starts[block.group] + block.row)
        position = block.stop
    return np.concatenate(got)


def displacements(rows: Integers, order: Integers) -> Integers:
    """How far each row lies from its place if the groups came whole, in the order they come in."""
    group = np.searchsorted(np.cumsum(rows), order, side="right")
    # the groups' order is known up to the order inside a block: by each group's mean place
    places = np.array([np.flatnonzero(group == g).mean() for g in range(len(rows))])
    straight = np.concatenate(
        [np.arange(rows[g]) + (np.cumsum(rows) - rows)[g] for g in np.argsort(places)]
    )
    place_of = np.empty(len(order), np.int64)
    place_of[straight] = np.arange(len(order))
    far: Integers = np.abs(np.arange(len(order)) - place_of[order])
    return far


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    window=st.integers(0, 100),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 100),
)
def test_an_epoch_has_each_row_once_and_any_position_at_once(
    sizes: list[int], window: int, seed: int, epoch: int
) -> None:
    rows = np.array(sizes)
    shuffle = EpochShuffle(rows, seed=seed, epoch=epoch, window=window)
    order = rows_in_order(shuffle, rows)
    assert sorted(order) == list(range(sum(sizes)))
    assert displacements(rows, order).max() < max(window, max(sizes), 1)
    # a fresh object gives the same row for one position
    position = seed % len(order)
    block = EpochShuffle(rows, seed=seed, epoch=epoch, window=window).block_at(position)
    place = position - block.first
    starts = np.cumsum(rows) - rows
    assert starts[block.group[place]] + block.row[place] == order[position]


def test_window_0_is_the_stored_order_and_a_window_of_all_mixes_all() -> None:
    rows = np.array([3, 1, 4])
    stored = EpochShuffle(rows, seed=0, epoch=5, window=0)
    assert rows_in_order(stored, rows).tolist() == list(range(8))
    rows = np.full(20, 50)
    whole = EpochShuffle(rows, seed=0, epoch=0, window=1000)
    assert whole.block_at(0).stop == whole.num_rows
    # a uniform permutation of n moves a row by n / 3 on average; 1000 rows: 333 +- 8
    moved = np.abs(rows_in_order(whole, rows) - np.arange(1000)).mean()
    assert abs(moved - 1000 / 3) < 40


def test_the_window_is_used_to_its_full_width() -> None:
    rows = np.full(64, 25)
    order = rows_in_order(EpochShuffle(rows, seed=3, epoch=0, window=200), rows)
    for block in order.reshape(-1, 200):  # eight groups of 25 are mixed, not one after the other
        assert len(set(block[:25] // 25)) >= 5
        assert len(set(block // 25)) == 8


def test_epochs_and_seeds_differ_and_repeat() -> None:
    rows = np.full(10, 10)
    orders = {
        (seed, epoch): tuple(
            rows_in_order(EpochShuffle(rows, seed=seed, epoch=epoch, window=30), rows)
        )
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    again = EpochShuffle(rows, seed=1, epoch=1, window=30)
    assert tuple(rows_in_order(again, rows)) == orders[1, 1]


def test_memory_is_of_the_groups_and_the_window_not_of_the_rows() -> None:
    rows = np.full(1000, 100_000)  # 100 M rows: 800 MB if each had a number
    tracemalloc.start()
    block = EpochShuffle(rows, seed=0, epoch=0, window=1000).block_at(54_321_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(block.group) == 100_000  # the group is larger than the window
    assert peak < 10e6


def test_what_can_not_be_is_refused() -> None:
    with pytest.raises(ValueError, match="window is -1"):
        EpochShuffle(np.array([3]), seed=0, epoch=0, window=-1)
    shuffle = EpochShuffle(np.array([3]), seed=0, epoch=0, window=2)
    with pytest.raises(IndexError, match="position 3 of an epoch of 3 rows"):
        shuffle.block_at(3)
