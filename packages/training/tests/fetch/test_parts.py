"""A fetch in parts: the shards of one process, each image requested once, whatever stops it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.input import Folder
from edge_glass.training.fetch.parts import PartFolder
from edge_glass.training.fetch.session import PartTask, fetch, fetch_part
from edge_glass.training.runtime.executor import SerialExecutor
from fetching import CONFIG, manifest, manifest_without_times, shard_hashes, write_input
from hostile_server import HostileServer


class Stopping(SerialExecutor):
    """Ends as a kill would, after some parts."""

    def __init__(self, after: int) -> None:
        self.after = after

    def map(self, fn: Any, *iterables: Any, **_: Any) -> Iterator[Any]:
        for number, task in enumerate(*iterables):
            if number == self.after:
                raise KeyboardInterrupt
            yield fn(task)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer(hosts=6) as running:
        yield running


def links(server: HostileServer, number: int = 48) -> list[str | None]:
    return [
        server.url(f"missing/{n}" if n % 12 == 0 else f"ok/{n % 30}", f"127.0.0.{1 + n % 6}")
        for n in range(number)
    ]


def run(source: Path, out: Path, after: int | None = None, **options: Any) -> Any:
    executor = SerialExecutor() if after is None else Stopping(after)
    return fetch(source, out, FetchConfig(**{**CONFIG, **options}), executor=executor, parts=7)


def test_parts_give_what_one_process_gives(tmp_path: Path, server: HostileServer) -> None:
    source = write_input(tmp_path / "in.parquet", links(server))
    fetch(source, tmp_path / "alone", FetchConfig(**CONFIG))
    hits = server.hits.copy()
    summary = run(source, tmp_path / "out")
    assert server.hits == Counter({path: 2 * count for path, count in hits.items()})
    assert shard_hashes(tmp_path / "out") == shard_hashes(tmp_path / "alone")
    assert manifest_without_times(tmp_path / "out") == manifest_without_times(tmp_path / "alone")
    assert summary.totals.statuses["dead"] == 4
    assert not list((tmp_path / "out/work/parts").iterdir())
    assert not list((tmp_path / "out/work/packs").iterdir())
    # nothing is left to request
    run(source, tmp_path / "out")
    assert server.hits == Counter({path: 2 * count for path, count in hits.items()})


@pytest.mark.parametrize("in_parts", [True, False])
def test_stopped_parts_are_resumed(tmp_path: Path, server: HostileServer, in_parts: bool) -> None:
    source, out = write_input(tmp_path / "in.parquet", links(server)), tmp_path / "out"
    for after in (1, 0, 1):
        with pytest.raises(KeyboardInterrupt):
            run(source, out, after=after)
    assert 0 < server.hits.total() < 48
    if in_parts:
        run(source, out)
    else:
        fetch(source, out, FetchConfig(**CONFIG))
    assert server.hits == Counter(url.split("/", 3)[3] for url in set(links(server)) if url)
    fetch(source, tmp_path / "alone", FetchConfig(**CONFIG))
    assert shard_hashes(out) == shard_hashes(tmp_path / "alone")
    assert manifest_without_times(out) == manifest_without_times(tmp_path / "alone")


def test_a_retry_and_a_mirror_in_parts(tmp_path: Path, server: HostileServer) -> None:
    paths = ["ok/1", "unavailable/3", "html/0", "missing/0", "ok/2", "ok/4"]
    urls = [server.url(path, f"127.0.0.{n + 1}") for n, path in enumerate(paths)]
    source = write_input(tmp_path / "in.parquet", urls)
    fetch(write_input(tmp_path / "some.parquet", urls[4:]), tmp_path / "old", FetchConfig(**CONFIG))
    out = tmp_path / "out"
    run(source, out, max_attempts=1, mirrors=(tmp_path / "old",))
    rows = manifest(out)
    assert [rows[url]["status"] for url in urls] == ["ok", "failed", "failed", "dead", "ok", "ok"]
    assert [rows[url]["source"] for url in urls[4:]] == ["mirror", "mirror"]
    assert (server.hits["ok/1"], server.hits["ok/2"], server.hits["ok/4"]) == (1, 1, 1)
    run(source, out, max_attempts=4, retry_failed=True)
    rows = manifest(out)
    assert [rows[url]["status"] for url in urls] == ["ok", "ok", "failed", "dead", "ok", "ok"]
    assert (server.hits["ok/1"], server.hits["html/0"], server.hits["missing/0"]) == (1, 2, 1)
    run(source, tmp_path / "fresh")
    assert shard_hashes(out) == shard_hashes(tmp_path / "fresh")


def test_a_part_that_a_worker_has_is_refused(tmp_path: Path, server: HostileServer) -> None:
    source, out = write_input(tmp_path / "in.parquet", links(server)), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(source, out, after=1)
    first, *_ = sorted((out / "work/parts").iterdir())
    with PartFolder(out, first.name).lock():
        with pytest.raises(BlockingIOError, match=r"part .* is already running here"):
            run(source, out)
        with pytest.raises(BlockingIOError, match="stop the worker that has it"):
            fetch_part(PartTask(root=out, name=first.name, config=FetchConfig(**CONFIG)))
    with pytest.raises(ValueError, match="must have the same path on every machine"):
        fetch_part(PartTask(root=tmp_path / "else", name="0", config=FetchConfig(**CONFIG)))
    assert Folder(out).journal.exists()
