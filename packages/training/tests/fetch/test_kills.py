"""A fetch resumes after a kill at any moment: nothing fetched twice, torn, lost or doubled."""

from __future__ import annotations

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

from edge_glass.training.fetch.input import Folder
from edge_glass.training.fetch.journal import Journal
from fetching import shard_hashes
from hostile_server import HostileServer, png

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
    """Returns the images that are there by the journal."""
    if not folder.journal.exists():
        return set()
    with Journal(folder.journal) as journal:
        records = [record for _, record in journal.replay()]
    return {record["picture"] for record in records if record.get("status") == "ok"}


def wait_for_hits(server: HostileServer, process: subprocess.Popen[str]) -> None:
    """Waits until the server answers no more requests."""
    assert server.max_hits is not None
    while process.poll() is None and server.hits.total() < server.max_hits:
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
        order = list(dict.fromkeys(numbers))  # from an image's number to the server's
        folder = Folder(tmp_path / "out")
        for _ in range(6):
            before = kept(folder)
            hits = server.hits.copy()
            # at most 250 requests in all, for 287 images: no run ends before it is killed
            server.max_hits = hits.total() + draw.randrange(1, 35)
            process = start(tmp_path / "in.parquet", folder.root, "--processes", processes)
            if draw.random() < 0.3:
                time.sleep(draw.uniform(0, 1.5))  # while it starts, copies the input, counts
            else:
                wait_for_hits(server, process)
                time.sleep(draw.uniform(0, 0.2))  # while it checks, keeps, writes shards
            assert process.poll() is None
            process.kill()  # only this one: its workers must end too
            finish(process)
            again = {order[image] for image in before} & {
                int(path.split("/")[1])
                for path in server.hits
                if server.hits[path] != hits[path] and path.startswith("ok")
            }
            assert not again
        server.max_hits = None
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
            None if number % 25 == 0 else png(number) for number in numbers
        ]
        assert not list(folder.packs.iterdir())
        assert not list(folder.root.glob(".*.tmp"))
        # and an undisturbed fetch gives the same bytes
        code, text = finish(start(tmp_path / "in.parquet", tmp_path / "calm"))
        assert code == 0, text
        assert shard_hashes(tmp_path / "calm") == shard_hashes(folder.root)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_cleanly_and_the_message_names_how_to_resume(
    tmp_path: Path, number: signal.Signals
) -> None:
    with HostileServer(delay=0.02) as server:
        urls = [server.url(f"ok/{n}") for n in range(300)]
        pq.write_table(pa.table({"image_url": urls}), tmp_path / "in.parquet")
        folder = Folder(tmp_path / "out")
        server.max_hits = 40
        process = start(tmp_path / "in.parquet", folder.root)
        wait_for_hits(server, process)
        os.killpg(process.pid, number)  # the whole group, as a terminal does
        code, text = finish(process)
        assert code == 128 + number
        assert "run the same command again to resume" in text
        assert "Traceback" not in text
        server.max_hits = None
        code, text = finish(start(tmp_path / "in.parquet", folder.root))
        assert code == 0, text
        assert "300 of 300 images (100.0%)" in text


@pytest.mark.slow
def test_below_min_success_the_command_fails_and_names_the_remedy(tmp_path: Path) -> None:
    with HostileServer() as server:
        urls = [server.url("ok/1"), server.url("html/0"), server.url("missing/0")]
        pq.write_table(pa.table({"image_url": urls}), tmp_path / "in.parquet")
        code, text = finish(start(tmp_path / "in.parquet", tmp_path / "out"))
        assert code == 1
        assert "33.3% of the images are there, --min-success is 50.0%" in text
        assert "http_404: 1" in text
        assert "--retry-failed" in text
        code, _ = finish(start(tmp_path / "in.parquet", tmp_path / "out", "--min-success", "0.3"))
        assert code == 0
