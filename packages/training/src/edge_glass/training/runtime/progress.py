"""Progress of long work: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def _prints() -> bool:
    """Whether this process prints: of the processes of `torchrun`, only rank 0 does."""
    return os.environ.get("RANK", "0") == "0"


def progress(
    items: Iterable[T], description: str, *, total: int | None = None, start: int = 0
) -> Iterator[T]:
    """Yields the items under a tqdm bar, which is off if stderr is not a terminal."""
    from tqdm import tqdm

    quiet = not (sys.stderr.isatty() and _prints())
    yield from tqdm(items, desc=description, total=total, initial=start, disable=quiet)


def say(message: str) -> None:
    """Prints a line of a stage's report."""
    if _prints():
        sys.stdout.write(message + "\n")
        sys.stdout.flush()
