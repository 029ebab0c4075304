"""Killed at any moment, a fetch goes on: nothing fetched twice, torn, lost or doubled."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.journal import Journal
from hostile_server import HostileServer, picture

COMMAND = [sys.executable, "-c", "from edge_glass.fusion.app.cli import main; main()", "fetch"]
OPTIONS = [
    *("--allow-private", "--concurrency", "8", "--backoff", "0.01", "--rows-per-shard", "40"),
    *("--max-attempts", "20", "--min-success", "0.5"),
]


def start(source: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, str(source), str(out), *OPTIONS, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def kept(folder: Folder) -> set[int]:
    """The pictures that the journal says are there."""
    if not folder.journal.exists():
        return set()
    with Journal(folder.journal) as journal:
        records = [record for _, record in journal.replay()]
    return {record["picture"] for record in records if record.get("status") == "ok"}


def hashes(out: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.parquet")
    }


def wait_for_size(path: Path, size: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and (not path.exists() or path.stat().st_size < size):
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("processes", ["0", "1"])
def test_kills_at_random_moments(tmp_path: Path, seed: int, processes: str) -> None:
    draw = random.Random(f"{seed} {processes}")
    with HostileServer(reset_share=0.05, delay=0.03) as server:
        numbers = [draw.randrange(350) for _ in range(600)]
        urls = [server.url(f"missing/{n}" if n % 25 == 0 else f"ok/{n}") for n in numbers]
        table = pa.table({"image_url": urls, "caption": [f"row {row}" for row in range(600)]})
        pq.write_table(table, tmp_path / "in.parquet")
        order = list(dict.fromkeys(numbers))  # a picture's number to the server's
        folder = Folder(tmp_path / "out")
        killed = 0
        for _ in range(6):
            before = kept(folder)
            hits = server.hits.copy()
            process = start(tmp_path / "in.parquet", folder.root, "--processes", processes)
            if draw.random() < 0.3:
                time.sleep(draw.uniform(0, 1.5))  # while it starts, cuts the input, counts
            else:
                present = folder.journal.stat().st_size if folder.journal.exists() else 0
                wait_for_size(folder.journal, present + draw.randrange(1, 12_000), process)
            killed += process.poll() is None
            process.kill()  # the one process: its workers must follow
            finish(process)
            again = {order[p] for p in before} & {
                int(path.split("/")[1])
                for path in server.hits
                if server.hits[path] != hits[path] and path.startswith("ok")
            }
            assert not again
        assert killed >= 3
        hits, before = server.hits.copy(), kept(folder)
        code, text = finish(start(tmp_path / "in.parquet", folder.root, "--processes", processes))
        assert code == 0, text
        for number in before:
            path = f"ok/{order[number]}"
            assert server.hits[path] == hits[path]
        rows = [
            row
            for path in sorted(folder.root.glob("*.parquet"))
            for row in pq.read_table(path).to_pylist()
        ]
        assert [row["caption"] for row in rows] == [f"row {row}" for row in range(600)]
        assert [(row["image"] or {}).get("bytes") for row in rows] == [
            None if number % 25 == 0 else picture(number) for number in numbers
        ]
        assert not list(folder.packs.iterdir())
        assert not list(folder.root.glob(".*.tmp"))
        # and an undisturbed fetch gives the same bytes
        code, text = finish(start(tmp_path / "in.parquet", tmp_path / "calm"))
        assert code == 0, text
        assert hashes(tmp_path / "calm") == hashes(folder.root)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    with HostileServer(delay=0.02) as server:
        urls = [server.url(f"ok/{n}") for n in range(300)]
        pq.write_table(pa.table({"image_url": urls}), tmp_path / "in.parquet")
        folder = Folder(tmp_path / "out")
        process = start(tmp_path / "in.parquet", folder.root)
        wait_for_size(folder.journal, 5_000, process)
        os.killpg(process.pid, number)  # the whole group, as a terminal does
        code, text = finish(process)
        assert code == 128 + number
        assert "the same command goes on from here" in text
        assert "Traceback" not in text
        code, text = finish(start(tmp_path / "in.parquet", folder.root))
        assert code == 0, text
        assert "300 of 300 pictures (100.0%)" in text


@pytest.mark.slow
def test_below_min_success_the_command_fails_and_says_what_next(tmp_path: Path) -> None:
    with HostileServer() as server:
        urls = [server.url("ok/1"), server.url("html/0"), server.url("missing/0")]
        pq.write_table(pa.table({"image_url": urls}), tmp_path / "in.parquet")
        code, text = finish(start(tmp_path / "in.parquet", tmp_path / "out"))
        assert code == 1
        assert "33.3% of the pictures are there, --min-success is 50.0%" in text
        assert "http_404: 1" in text
        assert "--retry-failed" in text
        code, _ = finish(start(tmp_path / "in.parquet", tmp_path / "out", "--min-success", "0.3"))
        assert code == 0


def test_a_killed_worker_process_costs_nothing(tmp_path: Path) -> None:
    """A decoder that crashes takes its process with it; the batch is judged again."""
    import asyncio

    from edge_glass.training.fetch.keeper import Arrival, Batch
    from edge_glass.training.fetch.pool import Pool

    async def run() -> None:
        pool = Pool(1)
        arrivals = [Arrival(n, 0, 1, None, picture(n)) for n in range(3)]
        batch = Batch(packs=tmp_path, run=1, max_pixels=10**6, strict=False, arrivals=arrivals)
        judged = asyncio.create_task(pool.keep(batch))
        await asyncio.sleep(0.05)
        for process in pool._executor._processes.values():  # type: ignore[attr-defined]
            process.kill()
        assert all(isinstance(line, bytes) for line in await judged)
        assert len(await pool.keep(batch)) == 3  # and the pool is whole again
        pool.close()

    asyncio.run(run())
