"""Progress of long work: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def _speaks() -> bool:
    """Of the processes that `torchrun` started only the first one talks."""
    return os.environ.get("RANK", "0") == "0"


def progress(
    items: Iterable[T], description: str, *, total: int | None = None, start: int = 0
) -> Iterator[T]:
    """Yields the items under a tqdm bar, which is off where stderr is no terminal."""
    from tqdm import tqdm

    quiet = not (sys.stderr.isatty() and _speaks())
    yield from tqdm(items, desc=description, total=total, initial=start, disable=quiet)


def say(message: str) -> None:
    """Prints a line of a stage's report."""
    if _speaks():
        sys.stdout.write(message + "\n")
        sys.stdout.flush()
