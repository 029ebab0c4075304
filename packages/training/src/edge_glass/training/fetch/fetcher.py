"""The fetch itself: mirrors first, then the network.

All steps run at the same time, and pass images on in this order:

    RequestQueue -> Client -> BodyQueue -> WriterPool -> Ledger -> ShardWriter

An image that fails is queued again, or recorded as failed. An image that is kept may complete a
shard. Every step is bounded, so memory does not grow with the input.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.failure import FetchError, backoff
from edge_glass.training.fetch.http import Client
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.input import Folder, read_column
from edge_glass.training.fetch.journal import encode
from edge_glass.training.fetch.ledger import Ledger
from edge_glass.training.fetch.mirrors import mirrored_images
from edge_glass.training.fetch.queue import BodyQueue, Request, RequestQueue
from edge_glass.training.fetch.report import Meter
from edge_glass.training.fetch.shards import ShardWriter
from edge_glass.training.fetch.writers import Download, Rejection, WriterPool

# images read ahead, so that one slow host does not hold up the others
WINDOW = 10_000


class Fetcher:
    """One run over one output folder; made and used in one event loop."""

    def __init__(
        self,
        config: FetchConfig,
        folder: Folder,
        index: Index,
        ledger: Ledger,
        meter: Meter,
        *,
        network: bool,
    ) -> None:
        self._config, self._folder, self._index = config, folder, index
        self._ledger, self._meter, self._network = ledger, meter, network
        self._requests = RequestQueue(self._source(), per_host=config.per_host, window=WINDOW)
        self._last_read = -1  # image of the source
        self._from_mirror: set[int] = set()
        self._reopened_by_mirror: set[int] = set()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._pool = WriterPool(
            config.processes,
            packs=folder.packs,
            run=ledger.runs,
            max_pixels=config.max_pixels,
            strict=config.image_sha256 == "strict",
        )
        self._shard_writer = ShardWriter(folder, index, ledger, self._pool, self._disk)
        self._complete_shards: asyncio.Queue[int] = asyncio.Queue()

    def _source(self) -> Iterator[tuple[int, str]]:
        if not self._network:
            return
        for image, url in self._index.urls():
            self._last_read = image
            if self._ledger.todo[image]:
                yield image, url

    async def run(self) -> None:
        """Gets every image that is to do, and writes every shard that becomes complete.

        Raises:
            OSError: if the disk is full or can't be written.
            DataError: if a mirror can't be read.
        """
        shards = asyncio.create_task(self._write_shards())
        images = asyncio.create_task(self._get_images())
        try:
            # writing shards never ends on its own: if it ends first, it has failed
            done, _ = await asyncio.wait((shards, images), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (shards, images):
                task.cancel()
            await asyncio.gather(shards, images, return_exceptions=True)
            self._pool.close()
            self._disk.shutdown()

    async def _get_images(self) -> None:
        self._queue_shards(self._ledger.complete_shards())
        if self._config.mirrors:
            await self._keep_all(self._read_mirrors)
        await self._keep_all(self._download)

    async def _keep_all(self, produce: Callable[[BodyQueue], Coroutine[Any, Any, None]]) -> None:
        """Keeps all bodies that `produce` puts into a queue."""
        bodies = BodyQueue()

        async def fill() -> None:
            await produce(bodies)
            bodies.close()

        await _together([fill(), *(self._keep(bodies) for _ in range(self._pool.max_batches))])

    async def _read_mirrors(self, bodies: BodyQueue) -> None:
        def wanted(hashed: str) -> int:
            image = self._index.find(hashed)
            missing = image >= 0 and self._ledger.missing(image)
            return image if missing and image not in self._from_mirror else -1

        config = self._config
        for image, body in mirrored_images(config.mirrors, wanted, config.max_bytes):
            self._from_mirror.add(image)
            if self._ledger.reopen([image]):  # it failed in an earlier run
                self._meter.add_one()
                self._reopened_by_mirror.add(image)
            self._requests.expect()
            await bodies.put(Request(image, ""), body)
            await asyncio.sleep(0)

    async def _download(self, bodies: BodyQueue) -> None:
        async with Client(self._config) as client:
            workers = range(self._config.concurrency)
            await _together([self._send_requests(client, bodies) for _ in workers])

    async def _send_requests(self, client: Client, bodies: BodyQueue) -> None:
        while (request := await self._requests.take()) is not None:
            try:
                try:
                    body = await client.get(request.url)
                finally:
                    self._requests.release(request)
            except FetchError as failure:
                self._retry_or_fail(request, failure)
            else:
                await bodies.put(request, body)

    async def _keep(self, bodies: BodyQueue) -> None:
        while batch := await bodies.take():
            last_shard, expected = self._index.last_shard, self._index.expected_sha256
            results = await self._pool.keep(
                [
                    Download(
                        image=request.image,
                        last_shard=int(last_shard[request.image]),
                        attempts=request.attempt,
                        expected=expected(request.image),
                        body=body,
                    )
                    for request, body in batch
                ]
            )
            kept: dict[int, bytes] = {}
            for (request, _), result in zip(batch, results, strict=True):
                if isinstance(result, bytes):
                    kept[request.image] = result
                elif request.attempt:
                    self._retry_or_fail(request, _failure(result))
                else:
                    self._reject_mirrored(request.image)
            self._record(list(kept), "ok", list(kept.values()))
            self._meter.count(len(kept), None)
            if self._ledger.sync_due():
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._disk, self._ledger.sync)

    def _reject_mirrored(self, image: int) -> None:
        """Leaves an image of a mirror to the network, or as failed if it is not to do."""
        self._from_mirror.discard(image)
        if image in self._reopened_by_mirror:
            self._reopened_by_mirror.discard(image)
            self._queue_shards(self._ledger.give_up(image))
        self._requests.finish()

    def _retry_or_fail(self, request: Request, failure: FetchError) -> None:
        config = self._config
        delay = backoff(
            request.attempt,
            base=config.backoff,
            cap=config.max_backoff,
            seed=config.seed,
            key=request.url,
        )
        if failure.retry_after is not None:
            delay = max(delay, min(failure.retry_after, config.max_retry_after))
        if failure.slow_down:
            self._requests.pause(request, delay)
        if failure.retry and request.attempt < config.max_attempts:
            self._requests.retry(request, delay)
            return
        record = {
            "picture": request.image,
            "status": failure.status,
            "reason": failure.reason,
            "attempts": request.attempt,
            "time": time.time(),
            "source": "web",
        }
        self._record([request.image], failure.status, [encode(record)])
        self._meter.count(1, failure.reason)

    def _record(self, images: list[int], status: str, lines: list[bytes]) -> None:
        """Records the outcome of images."""
        self._queue_shards(self._ledger.record_images(images, status, lines))
        self._from_mirror.difference_update(images)
        for _ in images:
            self._requests.finish()

    def _queue_shards(self, shards: list[int]) -> None:
        for shard in shards:
            self._requests.expect()  # images that turn out to be lost
            self._complete_shards.put_nowait(shard)

    async def _write_shards(self) -> None:
        while True:
            shard = await self._complete_shards.get()
            lost = await self._shard_writer.write(shard)
            if lost:
                self._fetch_again(shard, lost)
            self._requests.finish()

    def _fetch_again(self, shard: int, rows: list[int]) -> None:
        """Queues images whose stored bytes are lost or damaged."""
        images = self._index.rows_of_shard(shard)
        column = read_column(self._folder.slice(shard), "image_url")
        urls = {int(images[row]): column[row] for row in rows}
        for image in self._ledger.reopen(urls):
            self._meter.add_one()
            if image <= self._last_read:  # otherwise the source still yields it
                self._requests.add(image, urls[image] or "")


def _failure(rejection: Rejection) -> FetchError:
    reason = rejection.reason
    return FetchError(
        reason,
        rejection.detail,
        status="refused" if reason == "image_bomb" else "failed",
        # without a Content-Length a cut body is noticed only when the image is decoded
        retry=reason == "truncated_image",
    )


async def _together(coroutines: list[Coroutine[Any, Any, None]]) -> None:
    """Runs all; the first error ends the others and is raised as it is, not in a group."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
