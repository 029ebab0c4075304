"""One run of `edge-glass fetch`, from the lock to the summary."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import threading
from concurrent.futures import Executor
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.fetcher import Fetcher
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.input import Folder, plan_input
from edge_glass.training.fetch.journal import Journal
from edge_glass.training.fetch.ledger import CODES, Ledger
from edge_glass.training.fetch.parts import PartFolder, open_part, plan_parts, take_over_parts
from edge_glass.training.fetch.placeholders import Placeholder, find_placeholders
from edge_glass.training.fetch.proxy import notice
from edge_glass.training.fetch.report import Meter, Summary, summarise, write_manifest
from edge_glass.training.runtime.progress import progress, say


class StoppedError(Exception):
    """A signal ended the fetch; everything that was downloaded is kept."""

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
    """Downloads the images of a Parquet file; resumes an earlier run.

    Args:
        source: a Parquet file with `image_url`, or a folder of such files.
        out: the output folder; it is made if it does not exist.
        config: the limits.
        subset: the PixMo sub-set whose columns the source must have.
        executor: downloads in parts (`runtime/executor.py`); None downloads in this process.
        parts: number of parts for an executor; the images of one host are all in one part.

    Raises:
        DataError: if the source or the folder can't be used.
        StoppedError: on SIGINT or SIGTERM.
        OSError: if the disk is full, or a different fetch works in the folder.
    """
    if line := notice(config.proxy):
        say(line)
    folder = Folder(out)
    with folder.lock():
        plan = plan_input(source, folder, config.rows_per_shard, subset)
        index = Index(folder, plan, with_sha256=config.image_sha256 != "off")
        with Journal(folder.journal) as journal:
            ledger = Ledger(folder, index, journal)
            if journal.damaged:
                say(f"fetch: {journal.damaged} damaged lines of {folder.journal} are skipped")
            if take_over_parts(folder, journal):
                ledger = Ledger(folder, index, journal)
            ledger.plan(config)
            if executor is not None:
                if config.mirrors:
                    run_fetcher(config, folder, index, ledger, network=False)
                if ledger.todo.any():
                    fetch_parts(folder, index, ledger, config, executor, parts)
                    take_over_parts(folder, journal)
                # only the shards are left to write
                config = dataclasses.replace(
                    config, mirrors=(), retry_failed=False, retry_dead=False
                )
                ledger = Ledger(folder, index, journal)
                ledger.plan(config)
            run_fetcher(config, folder, index, ledger)
            placeholders = find_placeholders(ledger, config.placeholder_links)
            if config.drop_placeholders:
                placeholders = _drop(placeholders, config, folder, index, ledger)
            totals = write_manifest(folder, index, ledger)
        return summarise(folder, index, totals, placeholders)


def _drop(
    placeholders: list[Placeholder],
    config: FetchConfig,
    folder: Folder,
    index: Index,
    ledger: Ledger,
) -> list[Placeholder]:
    """Writes the shards that have placeholders again, without these; returns them as dropped."""
    ok = CODES["ok"]
    images = [image for each in placeholders for image in each.images if ledger.status[image] == ok]
    if images:
        ledger.drop(images)
        config = dataclasses.replace(config, mirrors=(), retry_failed=False, retry_dead=False)
        ledger.plan(config)
        run_fetcher(config, folder, index, ledger, network=False, quiet=True)
    return [dataclasses.replace(each, dropped=len(each.images)) for each in placeholders]


def run_fetcher(
    config: FetchConfig,
    folder: Folder,
    index: Index,
    ledger: Ledger,
    *,
    network: bool = True,
    quiet: bool = False,
) -> None:
    """Gets the images that are to do in the ledger, and writes the shards that become complete.

    Args:
        config: the limits.
        folder: the output folder.
        index: rows and images.
        ledger: what is to do.
        network: whether to send requests; without, only mirrors are read.
        quiet: whether to print nothing.

    Raises:
        StoppedError: on SIGINT or SIGTERM.
        OSError: if the disk is full or can't be written.
        DataError: if a mirror can't be read.
    """
    todo = int(ledger.todo.sum())
    if todo < index.count and not quiet:
        say(f"fetch: {index.count - todo} of {index.count} images are done, {todo} to do")
    if not todo and ledger.written.all() and not config.mirrors:
        return
    ledger.start_run()
    meter = Meter(todo, quiet=quiet)

    async def work() -> None:
        await _until_stopped(Fetcher(config, folder, index, ledger, meter, network=network), meter)

    try:
        asyncio.run(work())
    finally:
        meter.close()
        ledger.sync()


async def _until_stopped(fetcher: Fetcher, meter: Meter) -> None:
    task = asyncio.create_task(fetcher.run())
    signals: list[int] = []

    def stop(number: int) -> None:
        signals.append(number)
        task.cancel()

    # only a main thread gets signals, and the process of a part leaves them to its parent
    if threading.current_thread() is threading.main_thread() and parent_process() is None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not signals:
            raise
        raise StoppedError(
            signals[0],
            f"stopped: {meter.kept} images of this run are kept, {meter.total - meter.done} are "
            "to do; run the same command again to resume",
        ) from None


@dataclass(frozen=True, kw_only=True)
class PartTask:
    """Which part of which fetch."""

    root: Path
    name: str
    config: FetchConfig


def fetch_parts(
    folder: Folder,
    index: Index,
    ledger: Ledger,
    config: FetchConfig,
    executor: Executor,
    parts: int,
) -> None:
    """Downloads in parts what is to do; `take_over_parts` then moves the results.

    Raises:
        DataError, OSError: of the first part that fails; the images of the others are kept.
    """
    names = plan_parts(folder, index, ledger, parts)
    part_config = dataclasses.replace(
        config, processes=0, mirrors=(), retry_failed=False, retry_dead=False
    )
    root = folder.root.resolve()
    tasks = [PartTask(root=root, name=name, config=part_config) for name in names]
    say(f"fetch: {int(ledger.todo.sum())} images in {len(tasks)} parts")
    results = progress(executor.map(fetch_part, tasks), "fetch parts", total=len(tasks))
    say(f"fetch: {sum(results)} images are done in the parts")


def fetch_part(task: PartTask) -> int:
    """Downloads the images of one part; resumes an earlier run.

    Returns:
        The number of images that are done, whatever their outcome.

    Raises:
        DataError: if the folder can't be seen from here.
        OSError: if the disk is full, or a different process works on this part.
    """
    folder = PartFolder(task.root, task.name)
    with open_part(folder, with_sha256=task.config.image_sha256 != "off") as (index, ledger):
        run_fetcher(task.config, folder, index, ledger, quiet=True)
        return ledger.num_done()
