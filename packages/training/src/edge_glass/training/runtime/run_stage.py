"""How every stage starts: settings before torch loads, own sources, parameters, lock, then work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_glass.encoders.components import ConfigError
from edge_glass.training.engine.determinism import REPRODUCIBILITIES, environment, set_environment
from edge_glass.training.runtime.executor import open_executor
from edge_glass.training.runtime.lock import stage_lock
from edge_glass.training.runtime.own_sources import check_own_sources
from edge_glass.training.runtime.worker import explained_loaders
from edge_glass.training.runtime.yaml_file import read_yaml

if TYPE_CHECKING:
    from edge_glass.training.params import Params


def run_stage(
    stage: str,
    path: Path,
    parse: Callable[[Mapping[str, Any], str], Params],
    *,
    scheduler: str | None = None,
    before_lock: Callable[[Params], None] | None = None,
) -> None:
    """Runs one stage in the current folder.

    Args:
        stage: the name of a module in `edge_glass.training.stages`.
        path: the configuration file.
        parse: validates the file's content, given its name for errors. It is called when the
            environment is set, so it may import torch.
        scheduler: where partitions run, see `open_executor`; None for this process.
        before_lock: called with the parameters before the stage is locked.
    """
    raw = read_yaml(path)
    reproducibility = raw.get("reproducibility")
    if reproducibility not in REPRODUCIBILITIES:  # `parse` refuses it; any setting does until then
        reproducibility = REPRODUCIBILITIES[0]
    set_environment(reproducibility, restart=True)
    try:
        params = parse(raw, str(path))
    except ConfigError:
        # different sources may be the reason: the file may hold options of a different version
        with suppress(ConfigError):
            check_own_sources(Path(), stage, raw)
        raise
    check_own_sources(Path(), stage, raw)
    if before_lock is not None:
        before_lock(params)
    with stage_lock(stage), explained_loaders(stage):
        run = import_module(f"edge_glass.training.stages.{stage}").run
        if scheduler is None:
            run(params)
            return
        with open_executor(scheduler, environment(reproducibility)) as executor:
            run(params, executor)
