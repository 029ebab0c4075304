"""Tasks on a Dask cluster: connected, checked, and with the variables that bytes depend on.

A worker computes our bytes only where its sources and libraries are this process's, and where its
process began with the variables that libraries read when they load. Where they lack, the workers'
nannies are told to start them anew with them: Dask's own way, by a nanny plugin.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge_glass.training.runtime.progress import say

LIBRARIES = (
    "aiohttp", "numpy", "pillow", "pyarrow", "sentence-transformers", "torch", "transformers",
)  # fmt: skip
SECONDS = 30.0


@contextmanager
def dask_executor(scheduler: str, environment: Mapping[str, str]) -> Iterator[Executor]:
    """Connects to a scheduler and yields an executor over its workers.

    Args:
        scheduler: its address, or the path of its scheduler file.
        environment: variables that the workers' processes must begin with.

    Raises:
        ConnectionError: where no scheduler or no worker answers.
        ValueError: where Dask is not installed, or the workers are not like this process.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(
            f"scheduler is {scheduler!r}, which takes Dask: `pip install "
            '"edge-glass-training[dask]"`, or take processes:N for processes of this machine'
        ) from error
    place = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        client = Client(**place, timeout=SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {scheduler}: start one with `dask scheduler`, and on "
            f"each machine `dask worker {scheduler} --nthreads 1` ({error})"
        ) from error
    with client:
        check_workers(client, scheduler, environment)
        # not pure: a result that is still known from another start says nothing of the files
        executor: Executor = client.get_executor(pure=False)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)


def check_workers(client: Any, scheduler: str, environment: Mapping[str, str]) -> None:
    """Sees that all workers would compute the bytes that this process would.

    Raises:
        ConnectionError: where there are none.
        ValueError: naming a worker and what differs.
    """
    try:
        client.wait_for_workers(1, timeout=SECONDS)
    except TimeoutError as error:
        raise ConnectionError(
            f"the Dask scheduler at {scheduler} has no workers: on each machine start "
            f"`dask worker {scheduler} --nthreads 1`"
        ) from error
    try:
        found = client.run(worker_facts)
    except ImportError as error:
        raise ValueError(
            f"the workers of {scheduler} can't import edge_glass ({error}): install the same "
            "packages there as here"
        ) from error
    own = worker_facts()
    for worker, facts in sorted(found.items()):
        differs = [name for name in own if facts.get(name) != own[name]]
        if differs:
            raise ValueError(
                f"Dask worker {worker} has another {differs[0]}: found {facts.get(differs[0])}, "
                f"expected {own[differs[0]]}: install the same versions there as here"
            )
    count = len(found)
    if _lacking(client, environment):
        say(f"{count} Dask workers start anew with the variables that bytes depend on")
        _restart(client, environment)
        try:
            client.wait_for_workers(count, timeout=2 * SECONDS)
        except TimeoutError as error:
            raise ConnectionError(
                f"{scheduler}: the workers did not come back after their restart"
            ) from error
        if lacking := _lacking(client, environment):
            variables = " ".join(f"{name}={value}" for name, value in environment.items())
            raise ValueError(
                f"Dask worker {lacking[0]} has no nanny that could start it with the variables "
                f"that bytes depend on: start it with {variables}"
            )
    say(f"{count} Dask workers at {scheduler}")


@cache
def worker_facts() -> dict[str, str]:
    """Returns what must be the same in all processes: sources and versions of libraries."""
    digest = hashlib.sha256()
    for portion in ("encoders", "decoders", "fusion", "training"):
        folder = Path(str(import_module(f"edge_glass.{portion}").__file__)).parent
        for source in sorted(folder.rglob("*.py")):
            digest.update(f"{source.relative_to(folder)}\n".encode() + source.read_bytes())
    facts = {"python": platform.python_version(), "edge_glass source": digest.hexdigest()}
    for library in LIBRARIES:
        try:
            facts[library] = version(library)
        except PackageNotFoundError:
            facts[library] = "none"
    return facts


def first_environment(names: list[str]) -> dict[str, str | None]:
    """Returns variables as this process began with them, before any library was imported."""
    lines = Path("/proc/self/environ").read_bytes().split(b"\0")
    begun = dict(os.fsdecode(line).partition("=")[::2] for line in lines)
    return {name: begun.get(name) for name in names}


def _lacking(client: Any, environment: Mapping[str, str]) -> list[str]:
    if not environment:
        return []
    found: dict[str, Any] = client.run(first_environment, list(environment))
    return sorted(worker for worker, values in found.items() if values != dict(environment))


def _restart(client: Any, environment: Mapping[str, str]) -> None:
    from distributed import NannyPlugin

    class Environment(NannyPlugin):
        """Starts workers with variables, those that join later as well."""

        name = "edge-glass-environment"
        restart = True

        def __init__(self, variables: dict[str, str]) -> None:
            self.variables = variables

        async def setup(self, nanny: Any) -> None:
            # before the process begins: `nanny.env` comes after NumPy's import
            nanny.pre_spawn_env.update(self.variables)

    client.register_plugin(Environment(dict(environment)))
