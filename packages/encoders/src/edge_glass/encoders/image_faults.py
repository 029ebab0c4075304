"""Images that can't be used: the one error, and a guard that turns Pillow's errors into it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class BadImageError(ValueError):
    """An image that can't be used.

    Attributes:
        reason: a short name to count by, such as "truncated_image".
        detail: what was found, for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it survives pickling
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@contextmanager
def guarded() -> Iterator[None]:
    """Runs Pillow on odd images: without its warnings, and whatever it raises is a `BadImageError`.

    Raises:
        BadImageError: "undecodable_image" for any exception of the block but a lack of memory.
    """
    with _quiet():
        try:
            yield
        except (BadImageError, MemoryError):
            raise
        except Exception as error:
            raise BadImageError("undecodable_image", f"{type(error).__name__}: {error}") from error


_LOCK = threading.Lock()
_SILENCE: list[warnings.catch_warnings[None]] = []  # one per block of `_quiet` that is running


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Pillow's warnings about large images and odd metadata, in any number of threads."""
    with _LOCK:
        if not _SILENCE:
            first = warnings.catch_warnings()
            first.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.|pillow_heif|pillow_jxl")
            _SILENCE.append(first)
        else:
            _SILENCE.append(_SILENCE[0])
    try:
        yield
    finally:
        with _LOCK:
            saved = _SILENCE.pop()
            if not _SILENCE:
                saved.__exit__(None, None, None)
