"""Bodies that wait to be judged: bounded by their bytes, handed out in batches."""

from __future__ import annotations

import asyncio
from collections import deque

from edge_glass.training.fetch.frontier import Item

MAX_BYTES = 64 * 2**20
BATCH_ITEMS = 64
BATCH_BYTES = 8 * 2**20
# a batch costs a round to another process, so it waits a moment for company
PATIENCE = 0.05


class Inbox:
    """A queue between those who fetch and those who judge."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Item, bytes]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False

    async def put(self, item: Item, body: bytes) -> None:
        """Adds a body; waits while there are too many bytes."""
        while self._bytes >= MAX_BYTES:
            self._room.clear()
            await self._room.wait()
        self._waiting.append((item, body))
        self._bytes += len(body)
        self._filled.set()

    async def take(self) -> list[tuple[Item, bytes]]:
        """Returns a batch; an empty one once the inbox is closed and empty."""
        while not self._waiting:
            if self._closed:
                return []
            self._filled.clear()
            await self._filled.wait()
        if len(self._waiting) < BATCH_ITEMS and not self._closed:
            await asyncio.sleep(PATIENCE)
        batch: list[tuple[Item, bytes]] = []
        size = 0
        while self._waiting and len(batch) < BATCH_ITEMS and size < BATCH_BYTES:
            item, body = self._waiting.popleft()
            batch.append((item, body))
            size += len(body)
        self._bytes -= size
        self._room.set()
        # another taker may have emptied it meanwhile
        return batch or await self.take()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._filled.set()
