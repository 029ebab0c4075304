"""Pure functions mapped in order over an executor, with a bounded number of them in flight.

What comes out is the same for no executor, one process or many: results keep the order of the
items, whoever is done first. Any `concurrent.futures.Executor` will do.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from edge_glass.training.data.fetch.worker import start_worker

A = TypeVar("A")
R = TypeVar("R")

IN_FLIGHT = 64  # items handed out or waiting to be taken


@contextmanager
def open_pool(num_workers: int) -> Iterator[Executor | None]:
    """Yields processes of this machine, or None where one worker is asked for: it is the caller."""
    if num_workers == 1:
        yield None
        return
    # spawn: a fork of a process with threads (those of Arrow) can lock up
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ordered_map(
    function: Callable[[A], R],
    items: Iterable[A],
    executor: Executor | None,
    *,
    in_flight: int = IN_FLIGHT,
) -> Iterator[R]:
    """Yields `function(item)` in the order of the items.

    Args:
        function: of a module, without side effects, so that it can be sent and run anywhere.
        items: taken one by one, at most `in_flight` ahead of what has been yielded.
        executor: where to run; None runs here.
        in_flight: limit of calls that are not yielded yet.

    Raises:
        RuntimeError: where a worker process dies.
    """
    if executor is None:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenExecutor as error:
        raise RuntimeError(
            "a worker process died: most likely the machine was out of memory; run again with "
            "fewer workers (num_workers in params.yaml)"
        ) from error
    finally:
        for future in waiting:
            future.cancel()
