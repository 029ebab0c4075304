"""A hash of configuration, code and inputs, by which a saved state is recognised as this run's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_glass.training.folders import ALIGNED, FEATURES, PREPARED
from edge_glass.training.runtime.pipeline import (
    FILE,
    PORTIONS,
    installed_source,
    look_up,
    read_pipeline,
    source_files,
)

if TYPE_CHECKING:
    from edge_glass.training.params import Params


# What a stage reads if no dvc.yaml declares it: what the stages before it wrote.
BEFORE = {"encode": (PREPARED,), "align": (PREPARED, FEATURES)}


def fingerprint(params: Params, stage: str) -> str:
    """Returns a hash of the parameters, sources and inputs that `dvc.yaml` declares for a stage.

    A state that was saved with a different configuration, different code or different inputs must
    not be resumed. The sources are those that run. Inputs count by name, size and modification
    time: their content may be hundreds of GiB. In a folder without a dvc.yaml all parameters, all
    sources and all results of the stages before count; all sources do if dvc.yaml lists none.
    """
    sources = [Path("edge_glass", portion) for portion in PORTIONS]
    inputs = BEFORE.get(stage, (PREPARED, FEATURES, ALIGNED))
    if FILE.is_file():
        declared = read_pipeline(Path(), params.raw)[stage]
        sources = [Path(each) for each in declared.sources] or sources
        inputs = tuple(map(Path, declared.inputs))
    digest = hashlib.sha256()
    for name, value in stage_parameters(params, stage).items():
        digest.update(f"{json.dumps([name, value], sort_keys=True)}\n".encode())
    for source in sources:
        for name, path in source_files(installed_source(source.as_posix())).items():
            digest.update(f"{source.as_posix()} {name} ".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(file_mark(*inputs).encode())
    return digest.hexdigest()


def stage_parameters(params: Params, stage: str) -> Mapping[str, Any]:
    """Returns the parameters that `dvc.yaml` declares for a stage, by name; all without the file.

    The trackers of `log_with` change no byte, so they do not count.
    """
    names: tuple[str, ...] = tuple(name for name in params.raw if name != "log_with")
    if FILE.is_file():
        names = read_pipeline(Path(), params.raw)[stage].params
    return {name: look_up(params.raw, name, where=f"{FILE}: stages.{stage}") for name in names}


def file_mark(*paths: Path) -> str:
    """Returns the name, size and modification time of files and of all files below folders."""
    lines = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                stat = file.stat()
                lines.append(f"{file} {stat.st_size} {stat.st_mtime_ns}")
    return "\n".join(lines)
