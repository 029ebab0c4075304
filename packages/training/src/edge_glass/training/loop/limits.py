"""Checks of single values in a configuration, so that every message has the same form.

Each function reads the named fields of a dataclass; a field that is None is not checked.
"""

from __future__ import annotations

import math


def check_at_least(config: object, minimum: float, *names: str) -> None:
    """Refuses values below `minimum`, NaN and infinity."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not minimum <= value < math.inf:
            raise ValueError(f"{name} is {value}, expected {minimum} or more: change it")


def check_positive(config: object, *names: str) -> None:
    """Refuses 0, negative values, NaN and infinity."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}, expected more than 0: change it")


def check_share(config: object, *names: str) -> None:
    """Refuses what is not a probability below 1."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 <= value < 1:
            raise ValueError(f"{name} is {value}, expected at least 0 and less than 1: change it")
