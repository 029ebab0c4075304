"""Splits by the identity of the image: they do not change when other rows come or go."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def image_id(data: bytes) -> str:
    """Returns the identity of an image: the first 32 hex digits of the SHA-256 of its bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def split_of(identity: str, seed: int, shares: Mapping[str, float]) -> str:
    """Returns the split of an image, a function of its identity and the seed.

    Args:
        identity: from `image_id`.
        seed: a different seed draws different splits.
        shares: from a split name to its share; they sum to 1.

    Raises:
        ValueError: if the shares do not sum to 1.
    """
    total = sum(shares.values())
    if abs(total - 1) > 1e-9:
        raise ValueError(f"shares sum to {total}, expected 1: {dict(shares)}")
    digest = hashlib.sha256(f"{seed}/{identity}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    edge = 0.0
    for name, share in shares.items():
        edge += share
        if position < edge:
            return name
    return name  # the last edge may be rounded to less than 1
