"""Splits by the picture's identity: they do not move when other rows come or go."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def image_id(data: bytes) -> str:
    """Returns a picture's identity, the first 32 hex digits of the SHA-256 of its bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def split_of(identity: str, seed: int, shares: Mapping[str, float]) -> str:
    """Returns the split of a picture, a function of its identity and the seed alone.

    Args:
        identity: from `image_id`.
        seed: another seed draws other splits.
        shares: split name to share, in (0, 1], summing to 1.

    Raises:
        ValueError: where the shares don't sum to 1.
    """
    total = sum(shares.values())
    if abs(total - 1) > 1e-9:
        raise ValueError(f"shares sum to {total}, expected 1: {dict(shares)}")
    digest = hashlib.sha256(f"{seed}/{identity}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    edge = 0.0
    for name, share in shares.items():
        edge += share
        if place < edge:
            return name
    return name  # the last edge is 1 up to rounding
