"""Runs the tasks of a stage in this process, in several, or on a Dask cluster.

A stage maps a pure function over tasks and takes the results in order, so the choice of executor
changes no byte. Tasks and results are small and plain. The data are in files: on a cluster they
must be on a disk that all machines see at the same path.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, TypeVar

from edge_glass.training.runtime.worker import WorkerError, set_worker_number

A = TypeVar("A")
R = TypeVar("R")
MAX_IN_FLIGHT = 64  # tasks that are submitted and not yet yielded
PROCESSES = "processes:"


class SerialExecutor(Executor):
    """Runs each call in this thread at once; `map` runs a call when its result is taken."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future raises it
            future.set_exception(error)
        return future

    def map(self, fn: Callable[..., R], *iterables: Iterable[Any], **_: Any) -> Iterator[R]:
        return map(fn, *iterables)


@contextmanager
def open_executor(
    scheduler: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Executor]:
    """Yields an executor; an error or Ctrl-C cancels the tasks that have not begun.

    Args:
        scheduler: None for this process, `processes:N` for N processes of this machine, the address
            of a Dask scheduler (`tcp://HOST:8786`), or the path of its scheduler file.
        environment: variables that a worker process must have when it starts, because bytes depend
            on them.
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
            # a task can take hours: end it now, because the next run resumes from what it kept
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
    """Returns whether tasks run in this process, one after the other."""
    return isinstance(executor, SerialExecutor)


def _processes(scheduler: str) -> ProcessPoolExecutor:
    number = scheduler.removeprefix(PROCESSES)
    if not number.isdecimal() or int(number) < 1:
        raise ValueError(
            f"scheduler is {scheduler!r}, expected a number of processes such as {PROCESSES}4"
        )
    return ProcessPool(int(number))


class ProcessPool(ProcessPoolExecutor):
    """Worker processes that leave Ctrl-C to their parent, and end with it however it ends."""

    def __init__(self, processes: int) -> None:
        # spawn, because fork is unsafe in a process with threads, such as torch's
        context = multiprocessing.get_context("spawn")
        super().__init__(
            processes,
            mp_context=context,
            initializer=_start_worker,
            initargs=(context.Value("i", 0),),  # how many workers have started
        )

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        # This may start a process, which inherits the blocked signal. Otherwise Ctrl-C while the
        # process imports its modules would print a traceback.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def ordered_map(
    function: Callable[[A], R],
    items: Iterable[A],
    executor: Executor,
    *,
    in_flight: int = MAX_IN_FLIGHT,
) -> Iterator[R]:
    """Yields `function(item)` in the order of the items.

    The function is one of a module and has no side effects, so that any process can run it. At most
    `in_flight` calls are submitted and not yet yielded; no more items are taken ahead.
    """
    if is_serial(executor):
        yield from executor.map(function, items)
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
        raise WorkerError(
            "a worker process died, most likely because the machine was out of memory: run again "
            "with fewer processes; finished work is kept"
        ) from error
    finally:
        for future in waiting:
            future.cancel()


def _start_worker(started: Any) -> None:
    with started.get_lock():
        set_worker_number(started.value)
        started.value += 1
    # Ctrl-C reaches the whole process group, but only the parent decides what to finish
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # a killed parent closes no queue: without this its workers would wait for ever
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
