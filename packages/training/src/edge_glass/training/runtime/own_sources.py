"""The code that runs is the code of the project that it runs in.

`dvc.lock` records the sources in the project's folder, but Python imports what is installed. With
two checkouts and one environment these differ, and the certificate would be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_glass.training.runtime.pipeline import (
    FILE,
    installed_source,
    read_pipeline,
    source_files,
)
from edge_glass.training.runtime.yaml_file import read_yaml


def check_own_sources(project: Path, stage: str, params: Mapping[str, Any] | None = None) -> None:
    """Checks that a stage runs the sources that the project's `dvc.yaml` lists for it.

    A copy in a different folder is accepted if its files are equal, as `dvc exp run --temp` and
    installed wheels have them. A project that holds no sources has nothing to compare.

    Args:
        project: the project's folder.
        stage: its name in `dvc.yaml`.
        params: the content of the configuration file; None for the project's params.yaml.

    Raises:
        ValueError: A file differs; the error names both, and how to run the project's own code.
    """
    if not (project / FILE).is_file():
        return
    if params is None:
        params = read_yaml(project / "params.yaml")
    declared = read_pipeline(project, params).get(stage)
    for dependency in declared.sources if declared else ():
        own, running = project / dependency, installed_source(dependency)
        if not own.exists() or own.resolve() == running.resolve():
            continue
        files, others = source_files(own), source_files(running)
        for name in sorted(files.keys() | others.keys()):
            if (
                name not in files
                or name not in others
                or files[name].read_bytes() != others[name].read_bytes()
            ):
                raise ValueError(_explanation(project, stage, own, running, name))


def _explanation(project: Path, stage: str, own: Path, running: Path, name: str) -> str:
    file = "" if own.is_file() else f"/{name}"
    folders = sorted((project / "packages").glob("*/src"))
    installs = " ".join(f"-e {folder.parent.relative_to(project)}" for folder in folders)
    search_path = ":".join(str(folder.relative_to(project)) for folder in folders)
    return (
        f"{stage} would run {running}{file}, which differs from this project's {own.resolve()}"
        f"{file}: dvc.lock would certify code that did not run. Run `pip install {installs}` in "
        f"{project.resolve()}, or set PYTHONPATH={search_path}"
    )
