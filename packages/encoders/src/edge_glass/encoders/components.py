"""Components by name: a name and its options, from a file, become a validated config.

Each kind has a table of config classes in its package. A name that the table lacks is looked up
among the installed entry points of the kind's group, so that a third party adds a component by
installing a distribution. A config class is a frozen dataclass with a `build(...)` method.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import json
import math
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

T = TypeVar("T")

TOWERS = "edge_glass.encoders.towers.tables"
# kind -> (module, table, entry point group). By the module's name: a package above this one may
# hold the table, and nothing heavy is imported before a component is needed.
KINDS = {
    "vision_encoder": (TOWERS, "VISION_ENCODERS", "edge_glass.vision_encoders"),
    "text_encoder": (TOWERS, "TEXT_ENCODERS", "edge_glass.text_encoders"),
    "pooling": ("edge_glass.encoders.tables", "POOLINGS", "edge_glass.poolings"),
    "fusion": ("edge_glass.fusion.tables", "FUSIONS", "edge_glass.fusion"),
    "decoder": ("edge_glass.decoders.tables", "DECODERS", "edge_glass.decoders"),
}

MAX_SHOWN = 80  # characters of a value in an error
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# What is expected, by the first word of a type of pydantic's errors.
EXPECTED = {
    "bool": "true or false",
    "dataclass": "a table of options",
    "dict": "a table",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "mapping": "a table",
    "none": "null",
    "string": "a text",
    "tuple": "a list",
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
    """Returns the config class of a component."""
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
        f"{where}: {kind} is {shown(name)}, which is not known{nearest(name, names)}; choose one "
        f"of {', '.join(names)}, or install the package that offers it under the entry point "
        f"group {group}"
    )


def validate(cls: type[T], options: Any, *, where: str) -> T:
    """Builds the dataclass `cls` from plain options; unknown fields and wrong types are refused.

    `options` is what a YAML or JSON file holds, expected to be a table. Errors name the place
    `where`, such as "params.yaml: fusions.gated".

    Raises:
        ConfigError: names the place, the field, what was found and what is allowed.
    """
    _check_fields(cls, options, where)
    try:
        content = json.dumps(dict(options), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:  # a date, NaN, a table in itself
        place = next(_not_finite(options), None) if "float" in str(error) else None
        if place is not None:
            raise ConfigError(f"{where}: {place}, expected a finite number") from None
        raise ConfigError(f"{where}: expected what JSON can hold ({error})") from None
    try:
        # Strict, but as JSON: a list may be a tuple and an int a float; "12" is not a number.
        parsed: T = _adapter(cls).validate_json(content, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError(_explained(where, options, error.errors())) from None
    return parsed


def component(kind: str, name: Any, options: Any, *, where: str) -> Any:
    """Returns the validated config of a component of a kind in `KINDS`; see `validate`."""
    return validate(config_class(kind, name, where=where), options, where=where)


def as_options(config: Any) -> dict[str, Any]:
    """Returns a config dataclass as JSON holds it: tuples become lists."""
    options: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return options


@cache
def _adapter(cls: type[Any]) -> Any:
    return TypeAdapter(cls)  # it compiles the class's schema, which takes milliseconds


def shown(value: object) -> str:
    """Returns a value as an error shows it, on one line that is not long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def nearest(name: object, known: Iterable[str]) -> str:
    """Returns a question for the known name that is nearest to an unknown one, or nothing."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def _explained(where: str, options: Any, problems: Sequence[ErrorDetails]) -> str:
    """Returns one sentence per place: the options of a union are joined by "or"."""
    missing: list[str] = []
    own: list[str] = []
    expected: dict[str, list[str]] = {}
    found: dict[str, Any] = {}
    for problem in problems:
        place = ".".join(_place(problem["loc"], options, problem["type"] == "missing"))
        if problem["type"] == "missing":
            missing.append(place)
        elif problem["type"] == "value_error":  # of a dataclass's own checks
            own.append(f"{where}.{place}" if place else where)
            own[-1] += f": {problem['ctx']['error']}"
        else:
            expected.setdefault(place, []).append(_expected(problem))
            found[place] = problem["input"]
    sentences = [f"{where}: {', '.join(missing)} missing; add it"] if missing else []
    for place, kinds in expected.items():
        remedy = ", without the quotes" if _is_quoted_number(found[place], kinds) else ""
        sentences.append(
            f"{where}: {place} is {shown(found[place])}, expected "
            f"{' or '.join(dict.fromkeys(kinds))}{remedy}"
        )
    return "; ".join([*sentences, *own])


def _not_finite(value: Any, place: str = "") -> Iterator[str]:
    """Yields the places of NaN and infinity, as the start of a sentence."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{place} is {value}"
    items = value.items() if isinstance(value, Mapping) else ()
    for key, each in enumerate(value) if isinstance(value, list) else items:
        yield from _not_finite(each, f"{place}.{key}" if place else str(key))


def _place(loc: Sequence[int | str], options: Any, missing: bool) -> Iterator[str]:
    """Yields the part of a location that the options have; pydantic adds the types of a union."""
    for number, key in enumerate(loc):
        if isinstance(options, Mapping) and key in options:
            options = options[key]
        elif isinstance(options, list) and isinstance(key, int):
            options = options[key] if key < len(options) else None
        elif not (missing and number == len(loc) - 1):
            continue
        yield str(key)


def _expected(problem: ErrorDetails) -> str:
    if problem["type"] == "literal_error":
        return str(problem["ctx"]["expected"]).replace("'", "")
    kind = problem["type"].partition("_")[0]
    return EXPECTED.get(kind, problem["msg"])


def _is_quoted_number(found: Any, kinds: Sequence[str]) -> bool:
    numbers = {EXPECTED["int"], EXPECTED["float"]}
    return isinstance(found, str) and bool(numbers & set(kinds)) and bool(NUMBER.fullmatch(found))


def _check_fields(cls: type[Any], options: Any, where: str) -> None:
    """Refuses unknown fields, in nested dataclasses too: pydantic would let these pass."""
    if not isinstance(options, Mapping):
        raise ConfigError(f"{where}: expected a table of options, found {shown(options)}")
    allowed = [field.name for field in dataclasses.fields(cls)]
    unknown = [name for name in options if name not in allowed]
    if unknown:
        names = ", ".join(sorted(f"{shown(name)}{nearest(name, allowed)}" for name in unknown))
        raise ConfigError(f"{where}: unknown field {names}; allowed are {', '.join(allowed)}")
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
