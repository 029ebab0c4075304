"""A mark of configuration and code, by which a saved state knows whether it is this run's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edge_glass.encoders.components import Component

if TYPE_CHECKING:
    from edge_glass.training.params import Params


def fingerprint(params: Params, *names: str) -> str:
    """Returns a hash of the named parts of the configuration and of the installed sources.

    A saved state of another configuration or of other code must not be resumed.
    """
    digest = hashlib.sha256()
    for name in names:
        value = getattr(params, name)
        if isinstance(value, Component):
            value = value.saved()
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        digest.update(json.dumps([name, value], sort_keys=True).encode())
    for portion in ("encoders", "decoders", "fusion", "training"):
        folder = Path(str(import_module(f"edge_glass.{portion}").__file__)).parent
        for source in sorted(folder.rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()
