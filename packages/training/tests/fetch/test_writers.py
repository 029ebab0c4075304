"""Worker processes that check images: a crash costs nothing but the image that caused it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edge_glass.training.fetch.writers import Download, WriterPool
from hostile_server import png


def test_a_killed_worker_process_costs_nothing(tmp_path: Path) -> None:
    """A decoder that crashes ends its process; the batch is checked again, image by image."""

    async def run() -> None:
        pool = WriterPool(1, packs=tmp_path, run=1, max_pixels=10**6, strict=False)
        downloads = [Download(n, 0, 1, None, png(n)) for n in range(3)]
        results = asyncio.create_task(pool.keep(downloads))
        await asyncio.sleep(0.05)
        for process in pool._executor._processes.values():  # type: ignore[attr-defined]
            process.kill()
        assert all(isinstance(line, bytes) for line in await results)
        assert len(await pool.keep(downloads)) == 3  # the pool works again
        pool.close()

    asyncio.run(run())
