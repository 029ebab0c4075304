"""Processes that judge pictures and write shards, and die with their parent."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from edge_glass.training.data.fetch.picture import Verdict, check_picture, check_pictures

T = TypeVar("T")


def start_worker() -> None:
    """Prepares a worker process."""
    # Ctrl-C reaches the whole process group; the parent decides what is finished
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # a parent that is killed closes no queue: its workers would wait on it for ever
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class Pool:
    """Runs functions in processes, or in one thread where `processes` is 0."""

    def __init__(self, processes: int, max_pixels: int) -> None:
        self.size = max(1, processes)
        self._processes = processes
        self._max_pixels = max_pixels
        self._executor = self._start(processes)
        self._mending = asyncio.Lock()

    @staticmethod
    def _start(processes: int) -> Executor:
        if processes == 0:
            return ThreadPoolExecutor(1, thread_name_prefix="pictures")
        context = multiprocessing.get_context("spawn")  # threads and fork don't go together
        return ProcessPoolExecutor(processes, mp_context=context, initializer=start_worker)

    async def check(self, bodies: list[bytes]) -> list[Verdict]:
        """Judges pictures; one that brings a decoder down is judged "crashes_decoder"."""
        executor = self._executor
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(executor, check_pictures, bodies, self._max_pixels)
        except BrokenProcessPool:
            async with self._mending:
                self._renew(executor)
                return [await self._check_alone(body) for body in bodies]

    async def _check_alone(self, body: bytes) -> Verdict:
        # its own process: the shared ones may hold a culprit of another batch
        loop = asyncio.get_running_loop()
        with self._start(1) as executor:
            try:
                return await loop.run_in_executor(executor, check_picture, body, self._max_pixels)
            except BrokenProcessPool:
                return Verdict(reason="crashes_decoder", detail="a worker process died of it")

    async def run(self, function: Callable[[T], object], argument: T) -> object:
        """Runs any function; a worker that dies is replaced, and the function run once more."""
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
