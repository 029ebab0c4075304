"""Components by name: options from a file become the validated config of a component.

A kind's own table comes first; a name that it lacks is looked up among the entry points of the
kind's group, so a third party adds a component by installing a distribution.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

# kind -> (module, table, entry point group): read when a component is asked for, not at import
TABLES = {
    "vision_encoder": (
        "edge_glass.encoders.towers.tables",
        "VISION_ENCODERS",
        "edge_glass.vision_encoders",
    ),
    "text_encoder": (
        "edge_glass.encoders.towers.tables",
        "TEXT_ENCODERS",
        "edge_glass.text_encoders",
    ),
    "pooling": ("edge_glass.encoders.tables", "POOLINGS", "edge_glass.poolings"),
    "fusion": ("edge_glass.fusion.tables", "FUSIONS", "edge_glass.fusion"),
    "decoder": ("edge_glass.decoders.tables", "DECODERS", "edge_glass.decoders"),
}


class ConfigError(ValueError):
    """A configuration that can't be used: says where, what was found and what is allowed."""


def config_class(kind: str, name: str, *, where: str = "params.yaml") -> type[Any]:
    """Returns the config dataclass of a component.

    Raises:
        ConfigError: where neither the table nor an entry point has the name.
    """
    import importlib

    module, table, group = TABLES[kind]
    known: dict[str, type[Any]] = getattr(importlib.import_module(module), table)
    if name in known:
        return known[name]
    plugins = entry_points(group=group)
    for plugin in plugins:
        if plugin.name == name:
            loaded: type[Any] = plugin.load()
            return loaded
    names = sorted({*known, *(plugin.name for plugin in plugins)})
    raise ConfigError(
        f"{where}: {kind} is {name!r}, which is not known; choose one of {', '.join(names)}, or "
        f"install a package that offers it under the entry point group {group}"
    )


def validate(cls: type[T], options: Mapping[str, Any], *, where: str) -> T:
    """Builds the dataclass `cls` from plain options, refusing unknown fields and wrong types.

    Args:
        cls: a dataclass.
        options: what a YAML or JSON file holds.
        where: the place, as an error names it, e.g. "params.yaml: fusions.gated".

    Raises:
        ConfigError: naming the place, the field, what was found and what is allowed.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f"{where}: expected a table of options, found {options!r}")
    allowed = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ConfigError(
            f"{where}: unknown field {', '.join(map(repr, unknown))}; "
            f"allowed are {', '.join(allowed)}"
        )
    try:
        # strict JSON mode: a list may be a tuple and an int a float, but "12" is no number
        return TypeAdapter(cls).validate_json(json.dumps(dict(options)), strict=True)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']} (found {problem['input']!r})"
            for problem in error.errors()
        ]
        raise ConfigError(f"{where}: " + "; ".join(lines)) from None


def component(kind: str, name: str, options: Mapping[str, Any], *, where: str) -> Any:
    """Returns the validated config of one component, ready to `build(...)`."""
    return validate(config_class(kind, name, where=where), options, where=where)


def as_options(config: Any) -> dict[str, Any]:
    """Returns a config dataclass as plain JSON-ready options (tuples become lists)."""
    options: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return options


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """A component chosen by name: its plain options (as written to artefacts) and its config."""

    name: str
    options: dict[str, Any]
    config: Any = dataclasses.field(repr=False)

    def saved(self) -> dict[str, Any]:
        return {"name": self.name, "options": self.options}
