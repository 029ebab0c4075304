"""Processes that judge and keep pictures, and write shards."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from edge_glass.training.fetch.keeper import Batch, Rejection, keep_pictures
from edge_glass.training.runtime.worker import start_worker

A = TypeVar("A")
R = TypeVar("R")


class Pool:
    """Runs functions in processes, or in one thread where `processes` is 0."""

    def __init__(self, processes: int) -> None:
        # two batches a process: the next one is there when one is done
        self.batches = 2 * max(1, processes)
        self._processes = processes
        self._executor = self._start(processes)
        self._mending = asyncio.Lock()
        # the first task starts the processes, which takes a third of a second: not in this thread
        loop = asyncio.get_running_loop()
        self._started = loop.run_in_executor(None, self._executor.submit, int)

    @staticmethod
    def _start(processes: int) -> Executor:
        if processes == 0:
            return ThreadPoolExecutor(1, thread_name_prefix="pictures")
        context = multiprocessing.get_context("spawn")  # threads and fork don't go together
        return ProcessPoolExecutor(processes, mp_context=context, initializer=start_worker)

    async def keep(self, batch: Batch) -> list[bytes | Rejection]:
        """Judges and keeps pictures; what brings a decoder down is rejected as such."""
        executor = self._executor
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(executor, keep_pictures, batch)
        except BrokenProcessPool:
            async with self._mending:
                self._renew(executor)
                return [
                    await self._keep_alone(dataclasses.replace(batch, arrivals=[arrival]))
                    for arrival in batch.arrivals
                ]

    async def _keep_alone(self, batch: Batch) -> bytes | Rejection:
        # its own process: the shared ones may hold a culprit of another batch
        loop = asyncio.get_running_loop()
        with self._start(1) as executor:
            try:
                (verdict,) = await loop.run_in_executor(executor, keep_pictures, batch)
            except BrokenProcessPool:
                return Rejection("crashes_decoder", "a worker process died of it")
            return verdict

    async def run(self, function: Callable[[A], R], argument: A) -> R:
        """Runs any function; where its process dies, once more in another."""
        executor = self._executor
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(executor, function, argument)
        except BrokenProcessPool:
            async with self._mending:
                self._renew(executor)
            return await loop.run_in_executor(self._executor, function, argument)

    def _renew(self, broken: Executor) -> None:
        if self._executor is broken:  # the first of several that saw it break
            broken.shutdown(wait=False)
            self._executor = self._start(self._processes)

    def close(self) -> None:
        """Waits for what runs, drops what waits."""
        self._executor.shutdown(wait=True, cancel_futures=True)
