"""Writes shards while pictures still come, and frees the disk behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from edge_glass.training.fetch.ledger import Ledger
from edge_glass.training.fetch.pool import Pool
from edge_glass.training.fetch.shards import ShardTask, build_shard
from edge_glass.training.fetch.store import Store


class Builder:
    """One shard at a time, in the order in which they are complete."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        pool: Pool,
        disk: Executor,
        reopen: Callable[[int, list[int]], Awaitable[None]],
        settle: Callable[[], None],
    ) -> None:
        self._store, self._ledger, self._pool, self._disk = store, ledger, pool, disk
        self._reopen, self._settle = reopen, settle
        self._queue: asyncio.Queue[int] = asyncio.Queue()

    def add(self, shard: int) -> None:
        """Asks for a shard; `settle` is called once it is written."""
        self._queue.put_nowait(shard)

    async def run(self) -> None:
        """Writes what is asked for, until cancelled."""
        while True:
            shard = await self._queue.get()
            await self._build(shard)
            self._settle()

    async def _build(self, shard: int) -> None:
        loop = asyncio.get_running_loop()
        if self._ledger.remaining[shard] or self._ledger.written[shard]:
            return  # a lost picture was taken back meanwhile: it is asked for again later
        task: ShardTask = await loop.run_in_executor(self._disk, self._store.shard_task, shard)
        result = await self._pool.run(build_shard, task)
        if result.lost:
            await self._reopen(shard, result.lost)
            return
        offset = self._store.append_shard(shard, result.size)
        # the packs go only when the journal can't forget the shard any more
        await loop.run_in_executor(self._disk, self._store.sync)
        self._ledger.wrote(shard, offset)
        await loop.run_in_executor(self._disk, self._store.free_packs)
