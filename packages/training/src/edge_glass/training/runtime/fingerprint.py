"""A hash of configuration and code, by which a saved state is recognised as this run's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

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


def fingerprint(params: Params, stage: str) -> str:
    """Returns a hash of the parameters and the sources that `dvc.yaml` declares for a stage.

    A state that was saved with a different configuration or different code must not be resumed. The
    sources are those that run. In a folder without a dvc.yaml all parameters and all sources count,
    and all sources do if dvc.yaml lists none for the stage.
    """
    names, sources = tuple(params.raw), [Path("edge_glass", portion) for portion in PORTIONS]
    if FILE.is_file():
        declared = read_pipeline(Path(), params.raw)[stage]
        names = declared.params
        sources = [Path(each) for each in declared.sources] or sources
    digest = hashlib.sha256()
    for name in names:
        value = look_up(params.raw, name, where=f"{FILE}: stages.{stage}")
        digest.update(f"{json.dumps([name, value], sort_keys=True)}\n".encode())
    for source in sources:
        for name, path in source_files(installed_source(source.as_posix())).items():
            digest.update(f"{source.as_posix()} {name} ".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
