"""A section of the configuration becomes the chosen and validated part of it.

Every choice of a table is validated, also those that are not chosen, so that a mistake is reported
at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from edge_glass.encoders.components import (
    Component,
    ConfigError,
    component,
    nearest,
    shown,
    validate,
)

T = TypeVar("T")


def check_keys(raw: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    """Checks that a file has all of the allowed keys and no other."""
    names = list(allowed)
    unknown = sorted(f"{name}{nearest(name, names)}" for name in raw if name not in names)
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
                f"{where}: {name} is {shown(raw[name])}, expected "
                f"{'a whole number' if kind is int else 'a text'}"
            )


def pick(table: Any, name: str, what: str, where: str) -> Mapping[str, Any]:
    """Returns the options that a choice names."""
    if not isinstance(table, Mapping) or not table:
        found = "nothing" if not table else shown(table)
        raise ConfigError(
            f"{where}: found {found}, expected a table with the options of {what} {shown(name)}"
        )
    if name not in table:
        known = list(map(str, table))
        raise ConfigError(
            f"{where}: {what} is {shown(name)}, which is not there{nearest(name, known)}; choose "
            f"one of {', '.join(known)}"
        )
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
            raise ConfigError(
                f"{where}: launches.{name} is not known{nearest(name, known)}; known: "
                f"{', '.join(known)}"
            )
        configs[name] = validate(known[name], each, where=f"{where}: launches.{name}")
    return Component(name=raw["launch"], config=configs[raw["launch"]])


def choose_dataset(raw: Mapping[str, Any], config: type[T], where: str) -> T:
    """Validates all data sets and returns the chosen one."""
    pick(raw["datasets"], raw["data"], "data", f"{where}: datasets")
    configs = {
        name: validate(config, each, where=f"{where}: datasets.{name}")
        for name, each in raw["datasets"].items()
    }
    return configs[raw["data"]]


def section(raw: Mapping[str, Any], stage: str, config: type[T], where: str) -> T:
    """Validates the options of a stage at all scales and returns those of the chosen one."""
    pick(raw[stage], raw["scale"], "scale", f"{where}: {stage}")
    configs = {
        scale: validate(config, each, where=f"{where}: {stage}.{scale}")
        for scale, each in raw[stage].items()
    }
    return configs[raw["scale"]]
