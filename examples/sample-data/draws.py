"""Random draws that are functions of their key, so that no draw depends on the ones before it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def digest(*key: str | int) -> int:
    """128-bit number of the key; the same on every machine."""
    text = "\x1f".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def generator(*key: str | int) -> random.Random:
    """A generator of its own for this key, e.g. ``(seed, split, scene index)``."""
    return random.Random(digest(*key))


def choose(options: Sequence[T], *key: str | int) -> T:
    """One of ``options``, drawn by the key."""
    return options[digest(*key) % len(options)]


def spread(fraction: float, count: int) -> list[bool]:
    """Mark ``fraction`` of ``count`` places, as evenly spaced as whole places allow.

    Along a list sorted by stratum this is stratified sampling whose remainders even out.
    """

    def marked_before(place: int) -> int:
        return int(place * fraction + 0.5)

    return [marked_before(place + 1) > marked_before(place) for place in range(count)]
