"""Packages that a GPU machine may lack and that change no figure: stand-ins for them.

pydantic and ruamel.yaml check `params.yaml`, which `project.py` reads by itself. DVCLive writes
curves; its stand-in keeps the numbers that the stages log, in every run.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any, ClassVar

NAMES = {
    "pydantic": ("TypeAdapter", "ValidationError"),
    "pydantic_core": ("ErrorDetails",),
    "ruamel.yaml": ("YAML",),
    "ruamel.yaml.constructor": ("DuplicateKeyError", "SafeConstructor"),
    "ruamel.yaml.error": ("MarkedYAMLError", "YAMLError"),
    "ruamel.yaml.reader": ("ReaderError",),
}


class Live:
    """A log like DVCLive's; `records` has (folder, step, name, value) of all logs."""

    records: ClassVar[list[tuple[str, int, str, float]]] = []

    def __init__(self, dir: str, **options: Any) -> None:  # noqa: A002 - DVCLive's name
        del options
        self.folder, self.step = dir, 0

    def log_metric(self, name: str, value: float) -> None:
        """Keeps a number."""
        Live.records.append((self.folder, self.step, name, float(value)))

    def end(self) -> None:
        """Does nothing."""


class _Anything(type):
    """Has each attribute, as a function that does nothing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def install() -> list[str]:
    """Puts the stand-ins in place; returns the packages that are missing."""
    _module("dvclive")
    _module("dvclive.live").Live = Live  # type: ignore[attr-defined]
    missing = [name for name in ("pydantic", "ruamel.yaml") if not _is_there(name)]
    for name, members in NAMES.items():
        if any(name == each or name.startswith((f"{each}.", f"{each}_")) for each in missing):
            parent, _, _ = name.rpartition(".")
            if parent and parent not in sys.modules:
                _module(parent)
            module = _module(name)
            for member in members:
                setattr(module, member, _Anything(member, (Exception,), {}))
    return missing


def _module(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    sys.modules[name] = module
    return module


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
