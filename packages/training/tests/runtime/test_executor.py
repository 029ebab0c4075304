"""Tasks run here, in processes or on a Dask cluster of two workers, with equal bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.session import fetch
from edge_glass.training.runtime.dask_cluster import (
    dask_executor,
    first_environment,
    worker_facts,
)
from edge_glass.training.runtime.executor import SerialExecutor, open_executor
from fetching import CONFIG, manifest_without_times, shard_hashes, write_input
from hostile_server import HostileServer


def number_and_process(number: int) -> tuple[int, int]:
    return number, os.getpid()


def test_without_a_scheduler_calls_run_at_once_and_one_by_one() -> None:
    seen: list[int] = []
    with open_executor(None) as executor:
        results = executor.map(seen.append, range(3))
        assert seen == []
        next(results)
        assert seen == [0]
        assert executor.submit(number_and_process, 7).result() == (7, os.getpid())
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()
    assert isinstance(executor, SerialExecutor)


def test_a_scheduler_that_cannot_be_used_is_named() -> None:
    for number in ("0", "two", ""):
        with pytest.raises(ValueError, match=r"expected a number of processes such as"):
            open_executor(f"processes:{number}").__enter__()
    with pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        dask_executor("tcp://127.0.0.1:9", {}, timeout=0.2).__enter__()


def test_facts_and_variables_that_workers_must_share(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = worker_facts()
    assert len(facts["edge_glass source"]) == 64
    assert facts["numpy"] != "none"
    monkeypatch.setenv("EDGE_GLASS_LATER", "1")  # this process did not start with it
    assert first_environment(["EDGE_GLASS_LATER", "PATH"]) == {
        "EDGE_GLASS_LATER": None,
        "PATH": first_environment(["PATH"])["PATH"],
    }


@pytest.mark.slow
def test_processes_of_this_machine() -> None:
    with open_executor("processes:2") as executor:
        found = list(executor.map(number_and_process, range(20)))
    assert [number for number, _ in found] == list(range(20))
    assert os.getpid() not in {process for _, process in found}


@contextmanager
def local_cluster() -> Iterator[str]:
    """Two workers, each a process with its nanny, on loopback."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
    ) as cluster:
        yield cluster.scheduler_address


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_two_workers_prepare_the_bytes_of_one_process(project: Path) -> None:
    from edge_glass.training.params import load_params
    from edge_glass.training.stages import prepare

    params = load_params(project / "params.yaml")
    prepare.run(params)
    alone = hashes(Path("artifacts/prepared"))
    assert len(alone) >= 8
    Path("artifacts/prepared").rename("alone")
    with local_cluster() as address, open_executor(address) as executor:
        prepare.run(params, executor)
    assert hashes(Path("artifacts/prepared")) == alone


@pytest.mark.slow
@pytest.mark.parametrize("reproducibility", ["native", "portable"])
def test_two_workers_encode_the_bytes_of_one_process(
    project: Path, params: dict[str, Any], reproducibility: str
) -> None:
    import subprocess
    import sys

    import yaml

    params["reproducibility"] = reproducibility
    (project / "params.yaml").write_text(yaml.safe_dump(params))

    def run(stage: str, *options: str) -> str:
        code = "from edge_glass.fusion.app.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, stage, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("prepare")
    run("encode")
    alone = hashes(Path("artifacts/features"))
    assert len(alone) > 20
    Path("artifacts/features").rename("alone")
    with local_cluster() as address:
        printed = run("encode", "--scheduler", address)
        assert "2 Dask workers restart with the variables" in printed
        assert hashes(Path("artifacts/features")) == alone
        # with the variables they need no restart; and no result of the first run is reused
        Path("artifacts/features").rename("first")
        printed = run("encode", "--scheduler", address)
        assert "restart" not in printed
        assert hashes(Path("artifacts/features")) == alone
    assert "match their checksums" in run("encode", "--check")


@pytest.mark.slow
def test_two_workers_fetch_the_bytes_of_one_process(tmp_path: Path) -> None:
    with HostileServer(delay=0.005, hosts=5) as server:
        hosts = [f"127.0.0.{1 + number % 5}" for number in range(60)]
        paths = [f"missing/{n}" if n % 13 == 0 else f"ok/{n % 40}" for n in range(60)]
        urls = [server.url(path, host) for path, host in zip(paths, hosts, strict=True)]
        source = write_input(tmp_path / "in.parquet", [*urls, None])
        config = FetchConfig(**CONFIG)
        fetch(source, tmp_path / "alone", config)
        before = server.hits.copy()
        with local_cluster() as address, open_executor(address) as executor:
            summary = fetch(source, tmp_path / "parts", config, executor=executor, parts=8)
        again = {path: server.hits[path] - before[path] for path in server.hits}
        assert again == before
    shards = shard_hashes(tmp_path / "alone")
    assert len(shards) == 13
    assert shard_hashes(tmp_path / "parts") == shards
    assert not list((tmp_path / "parts/work/parts").iterdir())
    assert not list((tmp_path / "parts/work/packs").iterdir())
    alone = manifest_without_times(tmp_path / "alone")
    assert manifest_without_times(tmp_path / "parts") == alone
    assert summary.totals.statuses["ok"] == sum(row["status"] == "ok" for row in alone.values())
