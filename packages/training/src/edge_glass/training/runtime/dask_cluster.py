"""A Dask cluster as an executor: connect, check the workers, set their environment variables.

A worker computes equal bytes only if it has the same sources and libraries as this process, and if
its process started with the variables that libraries read when they load. If a worker lacks
variables, its nanny restarts it with them; a nanny plugin is Dask's own way to do so.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_glass.training.runtime.libraries import WORKER_LIBRARIES, installed_versions, source_hash
from edge_glass.training.runtime.progress import say
from edge_glass.training.runtime.worker import WorkerError, set_worker_number

TIMEOUT = 30.0  # seconds


@contextmanager
def dask_executor(
    scheduler: str, environment: Mapping[str, str], *, timeout: float = TIMEOUT
) -> Iterator[Executor]:
    """Connects to a scheduler and yields an executor over its workers.

    `scheduler` is its address, or the path of its scheduler file. The worker processes must have
    the variables of `environment` when they start. `timeout` is in seconds.
    """
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise ValueError(
            f"scheduler is {scheduler!r}, which needs Dask: `pip install "
            "'edge-glass-training[dask]'`, or use processes:N for processes of this machine"
        ) from error
    is_file = Path(scheduler).is_file()
    location = {"scheduler_file": scheduler} if is_file else {"address": scheduler}
    try:
        client = Client(**location, timeout=timeout, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {scheduler}: start one with `dask scheduler`, and on "
            f"each machine `dask worker {scheduler} --nthreads 1` ({error})"
        ) from error
    with client:
        check_workers(client, scheduler, environment, timeout)
        for address, number in numbers_on_machines(list(client.run(os.getpid))).items():
            client.run(set_worker_number, number, workers=[address])
        # not pure: Dask must not reuse a result of an earlier run, whose files may be gone
        executor: Executor = client.get_executor(pure=False)
        try:
            yield executor
        except KilledWorker as error:
            raise WorkerError(
                f"a Dask worker of {scheduler} died several times at one task, most likely because "
                "its machine was out of memory: start fewer workers per machine and run again; "
                "finished work is kept"
            ) from error
        finally:
            executor.shutdown(wait=False)


def check_workers(
    client: Any, scheduler: str, environment: Mapping[str, str], timeout: float
) -> None:
    """Checks that all workers compute the same bytes as this process."""
    try:
        client.wait_for_workers(1, timeout=timeout)
    except TimeoutError as error:
        raise ConnectionError(
            f"the Dask scheduler at {scheduler} has no workers: on each machine start "
            f"`dask worker {scheduler} --nthreads 1`"
        ) from error
    try:
        facts = client.run(worker_facts)
    except ImportError as error:
        raise ValueError(
            f"the workers of {scheduler} can't import edge_glass ({error}): install the same "
            "packages there as here"
        ) from error
    own = worker_facts()
    for worker, found in sorted(facts.items()):
        differing = [name for name in own if found.get(name) != own[name]]
        if differing:
            name = differing[0]
            raise ValueError(
                f"Dask worker {worker} has a different {name}: found {found.get(name)}, expected "
                f"{own[name]}: install the same versions there as here"
            )
    count = len(facts)
    if _lacking(client, environment):
        say(f"{count} Dask workers restart with the variables that bytes depend on")
        _restart(client, environment)
        try:
            client.wait_for_workers(count, timeout=2 * timeout)
        except TimeoutError as error:
            raise ConnectionError(
                f"{scheduler}: the workers did not return after their restart; look at their logs"
            ) from error
        if lacking := _lacking(client, environment):
            variables = " ".join(f"{name}={value}" for name, value in environment.items())
            raise ValueError(
                f"Dask worker {lacking[0]} has no nanny that could restart it with the variables "
                f"that bytes depend on: start it with {variables}"
            )
    say(f"{count} Dask workers at {scheduler}")


def numbers_on_machines(addresses: Iterable[str]) -> dict[str, int]:
    """Returns a number for each worker, from 0 on each machine; `addresses` are tcp://HOST:PORT."""
    counts: Counter[str] = Counter()
    numbers = {}
    for address in sorted(addresses):
        machine = address.rpartition(":")[0]
        numbers[address] = counts[machine]
        counts[machine] += 1
    return numbers


def worker_facts() -> dict[str, str]:
    """Returns what must be the same in all processes: sources and versions of libraries."""
    versions = installed_versions(WORKER_LIBRARIES)
    return {
        "python": platform.python_version(),
        "edge_glass source": source_hash(),
        **{name: versions.get(name, "none") for name in WORKER_LIBRARIES},
    }


def first_environment(names: list[str]) -> dict[str, str | None]:
    """Returns variables as they were when this process started, before any library was imported.

    Without Linux's /proc, as on macOS, these are the variables as they are now.
    """
    started = Path("/proc/self/environ")
    if not started.is_file():
        return {name: os.environ.get(name) for name in names}
    lines = started.read_bytes().split(b"\0")
    variables = dict(os.fsdecode(line).partition("=")[::2] for line in lines)
    return {name: variables.get(name) for name in names}


def _lacking(client: Any, environment: Mapping[str, str]) -> list[str]:
    if not environment:
        return []
    by_worker: dict[str, Any] = client.run(first_environment, list(environment))
    return sorted(worker for worker, values in by_worker.items() if values != dict(environment))


def _restart(client: Any, environment: Mapping[str, str]) -> None:
    from distributed import NannyPlugin

    class Environment(NannyPlugin):
        """Starts workers with variables, also workers that join later."""

        name = "edge-glass-environment"
        restart = True

        def __init__(self, variables: dict[str, str]) -> None:
            self.variables = variables

        async def setup(self, nanny: Any) -> None:
            # `nanny.env` would be too late: it is set after the process has imported NumPy
            nanny.pre_spawn_env.update(self.variables)

    client.register_plugin(Environment(dict(environment)))
