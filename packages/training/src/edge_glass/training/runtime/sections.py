"""A section of the configuration becomes the chosen and validated part of it.

Every choice of a table is validated, also those that are not chosen, so that a mistake in one is
reported before it is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge_glass.encoders.components import Component, ConfigError, component, validate


def check_keys(raw: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    """Checks that a file has all of the allowed keys and no other."""
    names = list(allowed)
    unknown = sorted(str(name) for name in raw if name not in names)
    if unknown:
        raise ConfigError(f"{where}: unknown {', '.join(unknown)}; allowed: {', '.join(names)}")
    missing = [name for name in names if name not in raw]
    if missing:
        raise ConfigError(f"{where}: {', '.join(missing)} missing; add it")


def check_types(raw: Mapping[str, Any], types: Mapping[str, type], where: str) -> None:
    """Checks the types of plain values; a boolean is not a number."""
    for name, kind in types.items():
        if type(raw[name]) is not kind:
            raise ConfigError(
                f"{where}: {name} is {raw[name]!r} ({type(raw[name]).__name__}), "
                f"expected {kind.__name__}"
            )


def pick(table: Any, name: str, what: str, where: str) -> Mapping[str, Any]:
    """Returns the options that a choice names."""
    if not isinstance(table, Mapping) or name not in table:
        known = ", ".join(map(str, table)) if isinstance(table, Mapping) else repr(table)
        raise ConfigError(f"{where}: {what} is {name!r}, which is not there; choose one of {known}")
    options: Mapping[str, Any] = table[name]
    return options


def choose_component(raw: Mapping[str, Any], kind: str, table: str, where: str) -> Component:
    """Validates all components of a kind and returns the chosen one."""
    options = pick(raw[table], raw[kind], kind, f"{where}: {table}")
    for name, each in raw[table].items():
        component(kind, name, each, where=f"{where}: {table}.{name}")
    config = component(kind, raw[kind], options, where=f"{where}: {table}.{raw[kind]}")
    return Component(name=raw[kind], config=config)


def choose_launch(raw: Mapping[str, Any], known: Mapping[str, type[Any]], where: str) -> Component:
    """Validates all launches and returns the chosen one."""
    pick(raw["launches"], raw["launch"], "launch", f"{where}: launches")
    configs = {}
    for name, each in raw["launches"].items():
        if name not in known:
            raise ConfigError(f"{where}: launches.{name} is not known; known: {', '.join(known)}")
        configs[name] = validate(known[name], each, where=f"{where}: launches.{name}")
    return Component(name=raw["launch"], config=configs[raw["launch"]])


def section(raw: Mapping[str, Any], stage: str, config: type[Any], where: str) -> Any:
    """Returns the validated options of a stage at the chosen scale."""
    options = pick(raw[stage], raw["scale"], "scale", f"{where}: {stage}")
    return validate(config, options, where=f"{where}: {stage}.{raw['scale']}")
