"""Results come in order, few at a time, and a dead worker ends the map."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from edge_glass.training.runtime.executor import SerialExecutor, open_executor, ordered_map
from edge_glass.training.runtime.worker import WorkerError


def slow_square(number: int) -> int:
    time.sleep(0.02 if number % 4 == 0 else 0)  # the first of four is done last
    return number * number


def test_order_and_number_in_flight() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(4) as threads:
        results = ordered_map(slow_square, items(), threads, in_flight=5)
        for done, result in enumerate(results):
            assert result == done * done
            assert len(taken) <= done + 5
    assert list(ordered_map(slow_square, range(3), SerialExecutor())) == [0, 1, 4]


def test_an_error_reaches_the_caller() -> None:
    with ThreadPoolExecutor(2) as threads, pytest.raises(ZeroDivisionError):
        list(ordered_map(lambda number: 1 // number, [1, 0, 1], threads))


def test_a_dead_worker_is_named() -> None:
    with (
        open_executor("processes:2") as pool,
        pytest.raises(WorkerError, match=r"a worker process died, .* fewer processes"),
    ):
        # of a module that a worker can import: this test's is none
        list(ordered_map(os._exit, [3, 3], pool))
