"""Where the partitions of a stage run: in this process, in several, or on a Dask cluster.

A stage maps a pure function over tasks and takes the results in order; where the function runs
changes no byte. Tasks and results are small and plain: data go through files, which on a cluster
lie on a disk that all machines see at the same path.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from edge_glass.training.runtime.worker import start_worker

A = TypeVar("A")
R = TypeVar("R")
IN_FLIGHT = 64  # tasks handed out, or done and waiting to be taken
VARIABLE = "EDGE_GLASS_SCHEDULER"
PROCESSES = "processes:"


class SerialExecutor(Executor):
    """Runs every call here and now; `map` does a call when its result is asked for."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is the future's, not swallowed
            future.set_exception(error)
        return future

    def map(self, fn: Callable[..., R], *iterables: Iterable[Any], **_: Any) -> Iterator[R]:
        return map(fn, *iterables)


@contextmanager
def open_executor(
    scheduler: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Executor]:
    """Opens what runs the partitions; an error or Ctrl-C drops those that have not begun.

    Args:
        scheduler: nothing for this process; `processes:N` for N on this machine; else the address
            of a Dask scheduler (`tcp://HOST:8786`) or the path of its scheduler file.
        environment: variables that every process must begin with, as bytes depend on them.

    Raises:
        ConnectionError: where no scheduler or no worker answers.
        ValueError: where the scheduler is not understood, Dask is not installed, or workers have
            other versions of what bytes depend on.
    """
    if not scheduler:
        yield SerialExecutor()
        return
    if scheduler.startswith(PROCESSES):
        executor: Executor = _processes(scheduler)
        others = multiprocessing.active_children()
        try:
            yield executor
        except BaseException:
            # a part can take hours: what it has kept, the next start goes on from
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
            raise
        finally:
            executor.shutdown(cancel_futures=True)
        return
    from edge_glass.training.runtime.dask_cluster import dask_executor

    with dask_executor(scheduler, environment or {}) as executor:
        yield executor


def is_serial(executor: Executor) -> bool:
    """Whether tasks run in this process, one after another."""
    return isinstance(executor, SerialExecutor)


def _processes(scheduler: str) -> ProcessPoolExecutor:
    number = scheduler.removeprefix(PROCESSES)
    if not number.isdecimal() or int(number) < 1:
        raise ValueError(
            f"scheduler is {scheduler!r}, expected a number of processes such as {PROCESSES}4"
        )
    # spawned, as torch's threads and fork don't go together; the environment is this process's
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(int(number), mp_context=context, initializer=start_worker)


def ordered_map(
    function: Callable[[A], R],
    items: Iterable[A],
    executor: Executor,
    *,
    in_flight: int = IN_FLIGHT,
) -> Iterator[R]:
    """Yields `function(item)` in the order of the items.

    Args:
        function: of a module, without side effects, so that it can be sent and run anywhere.
        items: taken one by one, at most `in_flight` ahead of what has been yielded.
        executor: where to run.
        in_flight: limit of calls that are not yielded yet.

    Raises:
        RuntimeError: where a worker process dies.
    """
    if is_serial(executor):
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
            "fewer of them"
        ) from error
    finally:
        for future in waiting:
            future.cancel()
