"""Checks of single values in a configuration, so that every message has the same form.

Each function reads the named fields of a dataclass; a field that is None is not checked. No torch
is imported here.
"""

from __future__ import annotations

# Above any useful value, and far below the sizes at which torch, or the machine, gives up.
MAX_COUNT = 10**9
MAX_WIDTH = 10**6
MAX_LAYERS = 1000
MAX_IMAGE_SIZE = 2**14
MAX_PATH = 1024


def check_between(config: object, minimum: int, maximum: int, *names: str) -> None:
    """Refuses values below `minimum` or above `maximum`, and NaN."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not minimum <= value <= maximum:
            raise ValueError(f"{name} is {value}, expected a number from {minimum} to {maximum}")


def check_at_least(config: object, minimum: int, *names: str) -> None:
    """Refuses values below `minimum`, above `MAX_COUNT`, and NaN."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not minimum <= value <= MAX_COUNT:
            limit = f"{MAX_COUNT} or less" if value > MAX_COUNT else f"{minimum} or more"
            raise ValueError(f"{name} is {value}, expected {limit}")


def check_positive(config: object, *names: str) -> None:
    """Refuses 0, negative values, values above `MAX_COUNT`, and NaN."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value <= MAX_COUNT:
            limit = f"{MAX_COUNT} or less" if value > MAX_COUNT else "a number of more than 0"
            raise ValueError(f"{name} is {value}, expected {limit}")


def check_grid(config: object, *names: str) -> None:
    """Refuses rows or columns below 1 or above `MAX_IMAGE_SIZE`."""
    for name in names:
        value = getattr(config, name)
        if not all(1 <= side <= MAX_IMAGE_SIZE for side in value):
            raise ValueError(
                f"{name} is {value}, expected rows and columns from 1 to {MAX_IMAGE_SIZE}"
            )


def check_path(config: object, *names: str) -> None:
    """Refuses what can't be a path or the name of a model: empty, too long, or with a NUL."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (0 < len(value) <= MAX_PATH and "\0" not in value):
            raise ValueError(f"{name} is {value[:40]!r}, expected a name or a path")


def check_share(config: object, *names: str) -> None:
    """Refuses values below 0, values of 1 or more, and NaN."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 <= value < 1:
            raise ValueError(f"{name} is {value}, expected at least 0 and less than 1")
