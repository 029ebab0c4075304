"""One run of `edge-glass fetch`, from the lock to the summary."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import Executor
from dataclasses import replace
from multiprocessing import parent_process
from pathlib import Path

from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.fetcher import Fetcher
from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.journal import Journal
from edge_glass.training.fetch.ledger import Ledger
from edge_glass.training.fetch.manifest import write_manifest
from edge_glass.training.fetch.meter import Meter
from edge_glass.training.fetch.parts import fetch_parts, take_over_parts
from edge_glass.training.fetch.slices import plan_input
from edge_glass.training.fetch.store import Store
from edge_glass.training.fetch.summary import Summary, summarise
from edge_glass.training.runtime.progress import say


class StoppedError(Exception):
    """A signal asked to stop, and everything that was fetched is kept."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def fetch(
    source: Path,
    out: Path,
    config: FetchConfig,
    *,
    subset: str | None = None,
    executor: Executor | None = None,
    parts: int = 16,
) -> Summary:
    """Fetches the pictures of a Parquet file, going on where an earlier run ended.

    Args:
        source: a Parquet file with `image_url`, or a folder of such files.
        out: the output folder, made where it does not exist.
        config: what is allowed.
        subset: the PixMo sub-set whose columns the source must have.
        executor: what asks the network, in parts (`engine/executor.py`); this process where None.
        parts: how many, for an executor; a host's pictures are all in one.

    Raises:
        DataError: where the source or the folder can't be used.
        StoppedError: where SIGINT or SIGTERM came.
        OSError: where the disk is full, or another fetch works in the folder.
    """
    folder = Folder(out)
    with folder.lock():
        plan = plan_input(source, folder, config.rows_per_shard, subset)
        index = Index(folder, plan, with_sha256=config.image_sha256 != "off")
        with Journal(folder.journal) as journal:
            ledger = Ledger(folder, index, journal)
            if journal.damaged:
                say(f"fetch: {journal.damaged} damaged lines of {folder.journal} are left out")
            if take_over_parts(folder, journal):
                ledger = Ledger(folder, index, journal)
            ledger.begin(config)
            if executor is not None:
                if config.mirrors:
                    run_fetcher(config, folder, index, ledger, journal, network=False)
                if ledger.todo.any():
                    fetch_parts(folder, index, ledger, config, executor, parts)
                    take_over_parts(folder, journal)
                # what is left to do is to write the shards
                config = replace(config, mirrors=(), retry_failed=False, retry_dead=False)
                ledger = Ledger(folder, index, journal)
                ledger.begin(config)
            run_fetcher(config, folder, index, ledger, journal)
            totals = write_manifest(folder, index, ledger)
        return summarise(folder, index, totals)


def run_fetcher(
    config: FetchConfig,
    folder: Folder,
    index: Index,
    ledger: Ledger,
    journal: Journal,
    *,
    network: bool = True,
    quiet: bool = False,
) -> None:
    """Settles what the ledger has to do, and writes the shards that become complete."""
    todo = int(ledger.todo.sum())
    if todo < index.count and not quiet:
        say(f"fetch: {index.count - todo} of {index.count} pictures are settled, {todo} to do")
    if not todo and ledger.written.all() and not config.mirrors:
        return
    store = Store(folder, index, ledger, journal)
    meter = Meter(todo, quiet=quiet)

    async def work() -> None:
        fetcher = Fetcher(
            config=config,
            folder=folder,
            index=index,
            ledger=ledger,
            store=store,
            meter=meter,
            network=network,
        )
        await _until_stopped(fetcher, meter)

    try:
        asyncio.run(work())
    finally:
        meter.close()
        store.close()


async def _until_stopped(fetcher: Fetcher, meter: Meter) -> None:
    task = asyncio.create_task(fetcher.run())
    stopped_by: list[int] = []

    def stop(number: int) -> None:
        stopped_by.append(number)
        task.cancel()

    # other threads get no signals, and a part's process leaves them to the first one
    if threading.current_thread() is threading.main_thread() and parent_process() is None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        raise StoppedError(
            stopped_by[0],
            f"stopped: {meter.kept} pictures of this run are kept, {meter.total - meter.done} are "
            "to do; the same command goes on from here",
        ) from None
