"""Components by name: a name and its options, from a file, become a validated config.

Each kind has a table of config classes in its package. A name that the table lacks is looked up
among the installed entry points of the kind's group, so that a third party adds a component by
installing a distribution. A config class is a frozen dataclass with a `build(...)` method.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import typing
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

T = TypeVar("T")

# kind -> (module, table, entry point group). By the module's name: a package above this one may
# hold the table, and nothing heavy is imported before a component is needed.
KINDS = {
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
    """A configuration that can't be used: names the place, what was found and what is allowed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Component:
    """A component that was chosen by name.

    Attributes:
        name: in the table of its kind, or of an entry point.
        config: its config, validated; a frozen dataclass.
    """

    name: str
    config: Any

    def saved(self) -> dict[str, Any]:
        """Returns the name and all options, defaults included, as JSON holds them.

        A file with these options means the same after a default in the code has changed.
        """
        return {"name": self.name, "options": as_options(self.config)}


def config_class(kind: str, name: Any, *, where: str = "params.yaml") -> type[Any]:
    """Returns the config class of a component.

    Raises:
        ConfigError: if neither the table nor an entry point has the name.
    """
    module, table, group = KINDS[kind]
    known: dict[str, type[Any]] = getattr(importlib.import_module(module), table)
    if isinstance(name, str) and name in known:
        return known[name]
    plugins = entry_points(group=group)
    for plugin in plugins:
        if plugin.name == name:
            loaded: type[Any] = plugin.load()
            return loaded
    names = sorted({*known, *(plugin.name for plugin in plugins)})
    raise ConfigError(
        f"{where}: {kind} is {name!r}, which is not known; choose one of {', '.join(names)}, or "
        f"install the package that offers it under the entry point group {group}"
    )


def validate(cls: type[T], options: Any, *, where: str) -> T:
    """Builds the dataclass `cls` from plain options; unknown fields and wrong types are refused.

    Args:
        cls: a dataclass.
        options: what a YAML or JSON file holds there, expected to be a table.
        where: the place that errors name, such as "params.yaml: fusions.gated".

    Raises:
        ConfigError: names the place, the field, what was found and what is allowed.
    """
    _check_fields(cls, options, where)
    try:
        # Strict, but as JSON: a list may be a tuple and an int a float; "12" is not a number.
        return TypeAdapter(cls).validate_json(json.dumps(dict(options)), strict=True)
    except TypeError as error:  # YAML has dates, for example
        raise ConfigError(f"{where}: expected what JSON can hold ({error})") from None
    except ValidationError as error:
        lines = [_explained(where, problem) for problem in error.errors()]
        raise ConfigError("; ".join(lines)) from None


def component(kind: str, name: Any, options: Any, *, where: str) -> Any:
    """Returns the validated config of a component.

    Args:
        kind: a key of `KINDS`.
        name: of the component.
        options: what a YAML or JSON file holds.
        where: the place that errors name.

    Raises:
        ConfigError: if the name is not known, or as `validate`.
    """
    return validate(config_class(kind, name, where=where), options, where=where)


def as_options(config: Any) -> dict[str, Any]:
    """Returns a config dataclass as JSON holds it: tuples become lists."""
    options: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return options


def _explained(where: str, problem: ErrorDetails) -> str:
    place = ".".join(map(str, problem["loc"]))
    if problem["type"] == "value_error":  # of a dataclass's own checks, which name what they found
        place = f"{where}.{place}" if place else where
        return f"{place}: {problem['ctx']['error']}"
    return f"{where}: {place}: {problem['msg']} (found {problem['input']!r})"


def _check_fields(cls: type[Any], options: Any, where: str) -> None:
    """Refuses unknown fields, in nested dataclasses too: pydantic would let these pass."""
    if not isinstance(options, Mapping):
        raise ConfigError(f"{where}: expected a table of options, found {options!r}")
    allowed = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(map(repr, set(options) - set(allowed)))
    if unknown:
        raise ConfigError(
            f"{where}: unknown field {', '.join(unknown)}; allowed are {', '.join(allowed)}"
        )
    for name, nested in _nested(cls):
        if isinstance(options.get(name), Mapping):
            _check_fields(nested, options[name], f"{where}.{name}")


def _nested(cls: type[Any]) -> Iterator[tuple[str, type[Any]]]:
    """Yields the fields whose type is a dataclass, or one dataclass or None."""
    for name, kind in typing.get_type_hints(cls).items():
        classes = [
            each for each in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(each)
        ]
        if len(classes) == 1 and isinstance(classes[0], type):
            yield name, classes[0]
