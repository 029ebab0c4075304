"""Changes of params.yaml that are tried and not written: `NAME=VALUE`, as `dvc exp run -S` has.

For a name that the file does not have, DVC needs `+NAME=VALUE`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from edge_glass.encoders.components import ConfigError
from edge_glass.training.runtime.yaml_file import parse_yaml


def overridden(raw: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """Returns the content of a configuration file with changes such as `encode.paper.pool=12`.

    Raises:
        ConfigError: if a change has no `=`, or names a table that is not there.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(raw))
    for change in changes:
        name, equals, text = change.lstrip("+").partition("=")
        *tables, last = name.split(".")
        table: Any = changed
        for each in tables:
            table = table.get(each) if isinstance(table, dict) else None
        if not equals or not last or not isinstance(table, dict):
            raise ConfigError(
                f"-S {change}: expected NAME=VALUE with a name of params.yaml, such as "
                "vlm_qa.paper.num_microbatches=64"
            )
        table[last] = parse_yaml(f"value: {text}", where=f"-S {change}")["value"]
    return changed


def addition(raw: Mapping[str, Any], changes: Iterable[str]) -> str:
    """Returns the advice to make changes, with the arguments of `dvc exp run`."""
    arguments = []
    for change in changes:
        *tables, last = change.partition("=")[0].split(".")
        table: Any = raw
        for each in tables:
            table = table[each]
        arguments.append(f"-S {'' if last in table else '+'}{change}")
    return f"add {' '.join(arguments)} to `dvc exp run`"
