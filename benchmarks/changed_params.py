"""Parameters with some of them replaced, for benchmarks that compare choices."""

from __future__ import annotations

import copy
from typing import Any


def changed(params: dict[str, Any], change: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a copy of the parameters with a seed and with some of them replaced.

    Args:
        params: of params.yaml.
        change: from a name with dots, such as "align.sample.recycle", to its value.
        seed: of the run.
    """
    result = copy.deepcopy(params)
    result["seed"] = seed
    for name, value in change.items():
        *tables, last = name.split(".")
        table = result
        for each in tables:
            table = table[each]
        if last not in table:
            raise SystemExit(f"params.yaml has no {name}")
        table[last] = value
    return result
