"""Progress of long work: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(
    items: Iterable[T], description: str, *, total: int | None = None, start: int = 0
) -> Iterator[T]:
    """Yields the items under a tqdm bar, which is off where stderr is no terminal."""
    from tqdm import tqdm

    yield from tqdm(
        items, desc=description, total=total, initial=start, disable=not sys.stderr.isatty()
    )


def say(message: str) -> None:
    """Prints a line of a stage's report."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()
