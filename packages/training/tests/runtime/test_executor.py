"""Partitions run here, in processes or on a Dask cluster of two workers, with equal bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_session import CONFIG, manifest, write_input

from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.session import fetch
from edge_glass.training.runtime import dask_cluster
from edge_glass.training.runtime.dask_cluster import first_environment, worker_facts
from edge_glass.training.runtime.executor import SerialExecutor, open_executor
from hostile_server import HostileServer


def where(number: int) -> tuple[int, int]:
    return number, os.getpid()


def test_here_means_now_and_one_at_a_time() -> None:
    seen: list[int] = []
    with open_executor(None) as executor:
        results = executor.map(seen.append, range(3))
        assert seen == []
        next(results)
        assert seen == [0]
        assert executor.submit(where, 7).result() == (7, os.getpid())
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()
    assert isinstance(executor, SerialExecutor)


def test_a_scheduler_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("0", "two", ""):
        with pytest.raises(ValueError, match=r"expected a number of processes such as"):
            open_executor(f"processes:{number}").__enter__()
    monkeypatch.setattr(dask_cluster, "SECONDS", 0.2)
    with pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        open_executor("tcp://127.0.0.1:9").__enter__()


def test_what_a_worker_must_share_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = worker_facts()
    assert len(facts["edge_glass source"]) == 64
    assert facts["numpy"] != "none"
    monkeypatch.setenv("EDGE_GLASS_LATER", "1")  # this process did not begin with it
    assert first_environment(["EDGE_GLASS_LATER", "PATH"]) == {
        "EDGE_GLASS_LATER": None,
        "PATH": first_environment(["PATH"])["PATH"],
    }


@pytest.mark.slow
def test_processes_of_this_machine() -> None:
    with open_executor("processes:2") as executor:
        found = list(executor.map(where, range(20)))
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
        said = run("encode", "--scheduler", address)
        assert "2 Dask workers start anew with the variables" in said
        assert hashes(Path("artifacts/features")) == alone
        # once they have them they stay as they are; and nothing is taken from the first run
        Path("artifacts/features").rename("first")
        said = run("encode", "--scheduler", address)
        assert "start anew" not in said
        assert hashes(Path("artifacts/features")) == alone
    assert "as their checksums say" in run("encode", "--check")


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
    shards = {name: found for name, found in hashes(tmp_path / "alone").items() if "/" not in name}
    assert len(shards) == 13
    found = hashes(tmp_path / "parts")
    assert {name: found[name] for name in found if "/" not in name} == shards
    assert not list((tmp_path / "parts/work/parts").iterdir())
    assert not list((tmp_path / "parts/work/packs").iterdir())
    alone, parts = manifest(tmp_path / "alone"), manifest(tmp_path / "parts")
    for rows in (alone, parts):
        for row in rows.values():
            row.pop("time")
    assert parts == alone
    assert summary.totals.statuses["ok"] == sum(row["status"] == "ok" for row in alone.values())
