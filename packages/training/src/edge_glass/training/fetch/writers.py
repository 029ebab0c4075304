"""Worker processes that check downloaded images, append them to packs, and write shards.

The body of an image stays in the worker. The event loop gets back the finished journal line, or
the reason why the image was rejected.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from edge_glass.encoders.images import BadImageError, check_mode, decode_image
from edge_glass.training.fetch.journal import encode
from edge_glass.training.fetch.packs import Packs
from edge_glass.training.prepare.perceptual_hash import perceptual_hash
from edge_glass.training.runtime.executor import ProcessPool

A = TypeVar("A")
R = TypeVar("R")


class Download(NamedTuple):
    """The body of one image; a plain tuple, because thousands per second cross a pipe."""

    image: int
    last_shard: int  # that refers to it
    attempts: int  # 0: from a mirror
    expected: str | None  # published SHA-256
    body: bytes


class Rejection(NamedTuple):
    """Why an image is not kept."""

    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Downloads, and what a worker needs to check and keep them.

    Attributes:
        packs: the folder of the packs.
        run: the number of this run.
        max_pixels: larger images are rejected.
        strict: whether images that differ from their published SHA-256 are rejected.
        downloads: the images.
    """

    packs: Path
    run: int
    max_pixels: int
    strict: bool
    downloads: list[Download]


class WriterPool:
    """The worker processes of one run; must be made in an event loop.

    Args:
        processes: their number; with 0 one thread of this process does the work.
        packs: the folder of the packs.
        run: the number of this run.
        max_pixels: larger images are rejected.
        strict: whether images that differ from their published SHA-256 are rejected.
    """

    def __init__(
        self, processes: int, *, packs: Path, run: int, max_pixels: int, strict: bool
    ) -> None:
        # two per process, so that the next batch is there when one is done
        self.max_batches = 2 * max(1, processes)
        self._processes = processes
        self._batch = Batch(
            packs=packs, run=run, max_pixels=max_pixels, strict=strict, downloads=[]
        )
        self._executor = self._start(processes)
        self._repairing = asyncio.Lock()
        # the first task starts the processes, which takes a third of a second: not in this thread
        loop = asyncio.get_running_loop()
        self._started = loop.run_in_executor(None, self._executor.submit, int)

    @staticmethod
    def _start(processes: int) -> Executor:
        if processes == 0:
            return ThreadPoolExecutor(1, thread_name_prefix="images")
        return ProcessPool(processes)

    async def keep(self, downloads: list[Download]) -> list[bytes | Rejection]:
        """Checks and keeps images; an image that crashes its decoder is rejected.

        Returns:
            The journal line of each image that was kept, the rejection of each other.
        """
        executor = self._executor
        loop = asyncio.get_running_loop()
        batch = dataclasses.replace(self._batch, downloads=downloads)
        try:
            return await loop.run_in_executor(executor, keep_images, batch)
        except BrokenProcessPool:
            async with self._repairing:
                self._replace(executor)
                return [await self._keep_alone(download) for download in downloads]

    async def _keep_alone(self, download: Download) -> bytes | Rejection:
        # in its own process: an image of a different batch may crash the shared ones
        loop = asyncio.get_running_loop()
        batch = dataclasses.replace(self._batch, downloads=[download])
        with self._start(1) as executor:
            try:
                (result,) = await loop.run_in_executor(executor, keep_images, batch)
            except BrokenProcessPool:
                return Rejection("crashes_decoder", "it ended the worker process")
            return result

    async def run(self, function: Callable[[A], R], argument: A) -> R:
        """Runs any function in a worker; if its process dies, once more in a new one."""
        executor = self._executor
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(executor, function, argument)
        except BrokenProcessPool:
            async with self._repairing:
                self._replace(executor)
            return await loop.run_in_executor(self._executor, function, argument)

    def _replace(self, broken: Executor) -> None:
        if self._executor is broken:  # several tasks may see the same executor break
            broken.shutdown(wait=False)
            self._executor = self._start(self._processes)

    def close(self) -> None:
        """Waits for the running tasks, drops the waiting ones, and closes the packs."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        # the packs of this process, if it wrote any; a worker process closes its own when it ends
        _packs(self._batch.packs, self._batch.run).close()


def keep_images(batch: Batch) -> list[bytes | Rejection]:
    """Checks images and appends the good ones to packs; runs in a worker process.

    Returns:
        The journal line of each image that was kept, the rejection of each other.
    """
    results = [_check(batch, download) for download in batch.downloads]
    pairs = list(zip(batch.downloads, results, strict=True))
    kept = [
        (download.last_shard, download.body)
        for download, result in pairs
        if isinstance(result, ImageFacts)
    ]
    locations = iter(_packs(batch.packs, batch.run).append(kept))
    now = time.time()
    return [
        result if isinstance(result, Rejection) else _line(download, result, *next(locations), now)
        for download, result in pairs
    ]


def _check(batch: Batch, download: Download) -> ImageFacts | Rejection:
    try:
        facts = image_facts(download.body, batch.max_pixels)
    except BadImageError as error:
        return Rejection(error.reason, str(error))
    if batch.strict and download.expected not in (None, facts.sha256):
        detail = f"found {facts.sha256}, published {download.expected}"
        return Rejection("sha256_mismatch", detail)
    return facts


def _line(download: Download, facts: ImageFacts, pack: str, offset: int, now: float) -> bytes:
    expected = download.expected
    return encode(
        {
            "picture": download.image,  # the name that folders of earlier versions have
            "status": "ok",
            "attempts": download.attempts,
            "time": now,
            "source": "web" if download.attempts else "mirror",
            "bytes": len(download.body),
            "sha256": facts.sha256,
            "sha256_matches": None if expected is None else expected == facts.sha256,
            "perceptual_hash": facts.perceptual_hash,
            "width": facts.width,
            "height": facts.height,
            "format": facts.format,
            "pack": pack,
            "offset": offset,
        }
    )


@functools.cache
def _packs(folder: Path, run: int) -> Packs:
    return Packs(folder, run)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the manifest records of a good image."""

    sha256: str
    perceptual_hash: int
    width: int
    height: int
    format: str


def image_facts(body: bytes, max_pixels: int) -> ImageFacts:
    """Decodes an image completely, and describes it.

    Raises:
        BadImageError: a reason of `decode_image`, or "unsupported_mode".
    """
    image = decode_image(body, max_pixels=max_pixels)
    check_mode(image)
    return ImageFacts(
        sha256=hashlib.sha256(body).hexdigest(),
        perceptual_hash=perceptual_hash(image),
        width=image.width,
        height=image.height,
        format=image.format or "",
    )
