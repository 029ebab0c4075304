"""The fetch itself: mirrors, then the network; judge, keep, write shards, all at the same time.

    frontier -> workers (client) -> inbox -> judges (pool: keeper) -> store, ledger -> builder

A picture that fails goes back to the frontier or is recorded as failed; one that is kept may
complete a shard. Every step is bounded, so that memory does not grow with the input.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edge_glass.training.fetch.builder import Builder
from edge_glass.training.fetch.client import Client
from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.failure import FetchError, Status
from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.frontier import Frontier, Item
from edge_glass.training.fetch.inbox import Inbox
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.journal import encode
from edge_glass.training.fetch.keeper import Arrival, Batch, Rejection
from edge_glass.training.fetch.ledger import Ledger
from edge_glass.training.fetch.meter import Meter
from edge_glass.training.fetch.mirrors import mirrored_pictures
from edge_glass.training.fetch.pool import Pool
from edge_glass.training.fetch.retry import backoff
from edge_glass.training.fetch.slices import read_column
from edge_glass.training.fetch.store import Store

# pictures looked ahead, so that one slow host doesn't hold up the others
WINDOW = 10_000


class Fetcher:
    """One run over one output folder; made and used in one event loop.

    Without `network` only mirrors are asked, and shards that are complete by them are written.
    """

    def __init__(
        self,
        *,
        config: FetchConfig,
        folder: Folder,
        index: Index,
        ledger: Ledger,
        store: Store,
        meter: Meter,
        network: bool = True,
    ) -> None:
        self._config, self._folder, self._index = config, folder, index
        self._ledger, self._store, self._meter = ledger, store, meter
        self._network = network
        self._frontier = Frontier(self._pending(), per_host=config.per_host, window=WINDOW)
        self._passed = -1
        self._from_mirror: set[int] = set()
        self._revived: set[int] = set()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._pool = Pool(config.processes)
        self._builder = Builder(
            store=store,
            ledger=ledger,
            pool=self._pool,
            disk=self._disk,
            reopen=self._reopen,
            settle=self._frontier.settle,
        )

    async def run(self) -> None:
        """Settles every picture that is to do, and writes every shard that can be.

        Raises:
            OSError: where the disk is full or can't be written.
            DataError: where a mirror can't be read.
        """
        builder = asyncio.create_task(self._builder.run())
        phases = asyncio.create_task(self._phases())
        try:
            # the builder never ends by itself: if it is the first, it has failed
            done, _ = await asyncio.wait((builder, phases), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (builder, phases):
                task.cancel()
            await asyncio.gather(builder, phases, return_exceptions=True)
            self._pool.close()
            self._disk.shutdown()

    async def _phases(self) -> None:
        for shard in self._ledger.complete_shards():
            self._build(shard)
        if self._config.mirrors:
            await self._with_judges(self._feed_from_mirrors)
        await self._with_judges(self._feed_from_network)

    async def _with_judges(self, feed: Any) -> None:
        inbox = Inbox()

        async def fed() -> None:
            await feed(inbox)
            inbox.close()

        await _together([fed(), *(self._judge(inbox) for _ in range(self._pool.batches))])

    async def _feed_from_mirrors(self, inbox: Inbox) -> None:
        def wanted(hashed: str) -> int:
            picture = self._index.find(hashed)
            lacking = picture >= 0 and self._ledger.lacking(picture)
            return picture if lacking and picture not in self._from_mirror else -1

        config = self._config
        for picture, body in mirrored_pictures(config.mirrors, wanted, config.max_bytes):
            self._from_mirror.add(picture)
            if self._ledger.reopen([picture]):  # settled as failed, in an earlier run
                self._meter.reopened()
                self._revived.add(picture)
            self._frontier.hold()
            await inbox.put(Item(picture, ""), body)
            await asyncio.sleep(0)

    async def _feed_from_network(self, inbox: Inbox) -> None:
        async with Client(self._config) as client:
            await _together([self._work(client, inbox) for _ in range(self._config.concurrency)])

    def _pending(self) -> Iterator[tuple[int, str]]:
        if not self._network:
            return
        for picture, url in self._index.urls():
            self._passed = picture
            if self._ledger.todo[picture]:
                yield picture, url

    async def _work(self, client: Client, inbox: Inbox) -> None:
        while (item := await self._frontier.take()) is not None:
            try:
                try:
                    body = await client.get(item.url)
                finally:
                    self._frontier.release(item)
            except FetchError as failure:
                self._failed(item, failure)
            else:
                await inbox.put(item, body)

    async def _judge(self, inbox: Inbox) -> None:
        while waiting := await inbox.take():
            verdicts = await self._pool.keep(self._batch(waiting))
            kept: list[tuple[Item, bytes]] = []
            for (item, _), verdict in zip(waiting, verdicts, strict=True):
                if isinstance(verdict, bytes):
                    kept.append((item, verdict))
                else:
                    self._failed(item, _rejected(verdict))
            self._settle([item for item, _ in kept], "ok", None, [line for _, line in kept])
            if self._store.sync_due():
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._disk, self._store.sync)

    def _batch(self, waiting: list[tuple[Item, bytes]]) -> Batch:
        homes, expected = self._index.last_shard, self._index.expected_sha256
        return Batch(
            packs=self._folder.packs,
            run=self._store.run,
            max_pixels=self._config.max_pixels,
            strict=self._config.image_sha256 == "strict",
            arrivals=[
                Arrival(
                    item.picture,
                    int(homes[item.picture]),
                    item.attempt,
                    expected(item.picture),
                    body,
                )
                for item, body in waiting
            ],
        )

    def _failed(self, item: Item, failure: FetchError) -> None:
        if not item.attempt:  # from a mirror: the network will be asked
            self._meter.rejected += 1
            self._from_mirror.discard(item.picture)
            if item.picture in self._revived:
                self._revived.discard(item.picture)
                for shard in self._ledger.drop(item.picture):
                    self._build(shard)
            self._frontier.settle()
            return
        config = self._config
        delay = backoff(
            item.attempt,
            base=config.backoff,
            cap=config.max_backoff,
            seed=config.seed,
            key=item.url,
        )
        if failure.retry_after is not None:
            delay = max(delay, min(failure.retry_after, config.max_retry_after))
        if failure.slow_down:
            self._frontier.pause(item, delay)
        if failure.retry and item.attempt < config.max_attempts:
            self._meter.retries += 1
            self._frontier.retry(item, delay)
            return
        line = encode(
            {
                "picture": item.picture,
                "status": failure.status,
                "reason": failure.reason,
                "attempts": item.attempt,
                "time": time.time(),
                "source": "web",
            }
        )
        self._settle([item], failure.status, failure.reason, [line])

    def _settle(
        self, items: list[Item], status: Status, reason: str | None, lines: list[bytes]
    ) -> None:
        for item, offset in zip(items, self._store.append(lines), strict=True):
            for shard in self._ledger.settle(item.picture, status, offset):
                self._build(shard)
            self._from_mirror.discard(item.picture)
            self._frontier.settle()
        self._meter.settled(len(items), reason)

    def _build(self, shard: int) -> None:
        self._frontier.hold()
        self._builder.add(shard)

    async def _reopen(self, shard: int, rows: list[int]) -> None:
        """Fetches pictures again whose bytes are not what was kept."""
        pictures = self._index.rows_of_shard(shard)
        urls = read_column(self._folder.slice(shard), "image_url")
        known = {int(pictures[row]): urls[row] for row in rows}
        for picture in self._ledger.reopen(known):
            self._meter.reopened()
            if picture <= self._passed:  # otherwise the source comes by it yet
                self._frontier.add(picture, known[picture] or "")


def _rejected(rejection: Rejection) -> FetchError:
    reason = rejection.reason
    return FetchError(
        reason,
        rejection.detail,
        status="refused" if reason == "image_bomb" else "failed",
        # a server that states no length can cut a body and nobody notices before
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
