"""One thread that runs all work on images and models, one job after the other.

The results of a request therefore have the same bits alone and among any number of others, and only
one image at a time is decoded. Requests beyond the queue's length are refused at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

from edge_glass.fusion.serve.failure import RequestError

ResultT = TypeVar("ResultT")


class Worker:
    """Runs jobs in one thread.

    Attributes:
        num_requests: how many requests are admitted now: those that wait and the one that runs.
    """

    def __init__(self, max_queue: int) -> None:
        self.max_queue = max_queue
        self.num_requests = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="models")

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Holds one place of the queue; a request enters before its body is read.

        Raises:
            RequestError: if no place is free.
        """
        if self.num_requests >= self.max_queue:
            raise RequestError(
                429,
                f"{self.num_requests} requests are waiting, which is the limit (max_queue); "
                "try again in a second",
                code="queue_full",
            )
        self.num_requests += 1
        try:
            yield
        finally:
            self.num_requests -= 1

    async def run(self, job: Callable[[], ResultT]) -> ResultT:
        """Runs a job and returns its result; what the job raises is raised here.

        A job that is cancelled before it begins never runs.
        """
        held = [job]  # the pool keeps its entry until the thread is free; the images go now
        del job
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, lambda: held.pop()())
        finally:
            held.clear()

    async def stream(self, job: Callable[[], Iterator[ResultT]]) -> AsyncGenerator[ResultT, None]:
        """Yields what a job yields, as it comes; a slow reader does not hold up the thread.

        If the reader leaves and closes the generator, the job ends before its next item.
        """
        held = [job]  # as in `run`
        del job
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[ResultT | None] = asyncio.Queue()
        left = Event()

        def produce() -> None:
            try:
                for begun in held[:1]:  # none if the reader has left
                    for item in begun():
                        loop.call_soon_threadsafe(items.put_nowait, item)
                        if left.is_set():
                            return
            finally:
                loop.call_soon_threadsafe(items.put_nowait, None)

        done = loop.run_in_executor(self._pool, produce)
        try:
            while (item := await items.get()) is not None:
                yield item
            await done
        finally:
            left.set()
            held.clear()
            done.cancel()  # it is dropped if it has not begun

    def close(self) -> None:
        """Ends the thread after the jobs that are running and waiting."""
        self._pool.shutdown()
