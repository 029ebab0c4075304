"""What `dvc.yaml` declares for each stage, with `${...}` filled in from `params.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from edge_glass.encoders.components import ConfigError
from edge_glass.training.runtime.yaml_file import read_yaml

FILE = Path("dvc.yaml")
PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")
PORTIONS = ("encoders", "decoders", "fusion", "training")


@dataclass(frozen=True, kw_only=True)
class StageFiles:
    """The declaration of one stage; all paths are relative to the project's folder.

    Attributes:
        sources: dependencies that are source code of this project's packages.
        inputs: all other dependencies.
        params: dotted names in params.yaml.
        outputs: outputs, metrics and plots.
    """

    sources: tuple[str, ...]
    inputs: tuple[str, ...]
    params: tuple[str, ...]
    outputs: tuple[str, ...]


def read_pipeline(project: Path, params: Mapping[str, Any]) -> dict[str, StageFiles]:
    """Reads the stages of a project in the order of `dvc.yaml`.

    Args:
        project: the project's folder.
        params: the content of its params.yaml.

    Raises:
        ConfigError: There is no dvc.yaml, or a `${...}` names nothing.
    """
    content = read_yaml(project / FILE)
    values = dict(params)
    for each in content.get("vars", []):
        values |= each if isinstance(each, Mapping) else read_yaml(project / str(each))
    return {
        name: _stage_files(stage, values, f"{project / FILE}: stages.{name}")
        for name, stage in content["stages"].items()
    }


def look_up(values: Mapping[str, Any], name: str, *, where: str) -> Any:
    """Returns the value at a dotted name such as `align.sample.steps`.

    Raises:
        ConfigError: There is no such value.
    """
    found: Any = values
    for key in name.split("."):
        if not isinstance(found, Mapping) or key not in found:
            raise ConfigError(f"{where}: {name!r} is not in params.yaml (no {key!r})")
        found = found[key]
    return found


def installed_source(dependency: str) -> Path:
    """Returns where the code of a source dependency lies in the packages that run.

    Args:
        dependency: such as `packages/training/src/edge_glass/training/align`.
    """
    portion, *rest = _within_namespace(dependency)
    # the portions are found without importing them, which would load torch
    spec = find_spec(f"edge_glass.{portion}")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"dvc.yaml: {dependency} is a dependency, but edge_glass.{portion} is not installed: "
            f"run `pip install edge-glass-{portion}`"
        )
    return Path(next(iter(spec.submodule_search_locations)), *rest)


def source_files(path: Path) -> dict[str, Path]:
    """Returns the Python files below a folder (or the file itself) by their relative path."""
    if path.is_file():
        return {path.name: path}
    return {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*.py"))}


def _stage_files(stage: Mapping[str, Any], values: Mapping[str, Any], where: str) -> StageFiles:
    def filled(text: str) -> str:
        return PLACEHOLDER.sub(
            lambda match: str(look_up(values, match[1].strip(), where=where)), text
        )

    deps = [filled(name) for name, _ in _entries(stage.get("deps", []))]
    params: list[str] = []
    for name, content in _entries(stage.get("params", [])):
        if content is None:
            params.append(filled(name))
        else:  # a table names a different file; its content counts as a whole
            deps.append(filled(name))
    outputs = [
        filled(name)
        for kind in ("outs", "metrics", "plots")
        for name, _ in _entries(stage.get(kind, []))
    ]
    return StageFiles(
        sources=tuple(dep for dep in deps if _within_namespace(dep)),
        inputs=tuple(dep for dep in deps if not _within_namespace(dep)),
        params=tuple(params),
        outputs=tuple(outputs),
    )


def _entries(items: Iterable[Any]) -> list[tuple[str, Any]]:
    """Returns (name, options) of a list whose items are names or tables of one name each."""
    return [
        (str(name), options)
        for item in items
        for name, options in (item.items() if isinstance(item, Mapping) else [(item, None)])
    ]


def _within_namespace(dependency: str) -> tuple[str, ...]:
    """Returns the parts of a path after `edge_glass`; none if it is not a source of a package."""
    parts = PurePosixPath(dependency).parts
    if "edge_glass" not in parts:
        return ()
    return parts[parts.index("edge_glass") + 1 :]
