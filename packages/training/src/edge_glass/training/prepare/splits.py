"""Splits by the identity of the image: they do not change when other rows come or go."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from edge_glass.training.runtime.split_names import TRAIN

SPLIT_NAME = re.compile(r"\w[\w.-]*")  # the name of a file, without a folder
MAX_NAME = 200  # bytes; a file system allows 255, with the endings of the files


def is_split_name(name: str) -> bool:
    """Returns whether a split's name can name files."""
    return bool(SPLIT_NAME.fullmatch(name)) and len(name.encode()) <= MAX_NAME


def image_id(data: bytes) -> str:
    """Returns the identity of an image: the first 32 hex digits of the SHA-256 of its bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def named_split(name: str | None) -> str:
    """Returns the split that a row names, "" if it names none; "Training" counts as "train"."""
    plain = (name or "").strip()
    return TRAIN if plain.casefold() in (TRAIN, "training") else plain


def check_shares(shares: Mapping[str, float]) -> None:
    """Checks that no share is below 0, that they sum to 1, and that names can name files."""
    total = sum(shares.values())
    if not abs(total - 1) <= 1e-9 or min(shares.values()) < 0:  # NaN is refused too
        raise ValueError(f"shares are {dict(shares)}, expected none below 0 and a sum of 1")
    odd = [name for name in shares if not is_split_name(name)]
    if odd:
        raise ValueError(
            f"shares name the splits {odd}, expected letters, digits, '_', '.' and '-'"
        )


def split_of(identity: str, seed: int, shares: Mapping[str, float]) -> str:
    """Returns the split of an image, a function of its identity and the seed; shares sum to 1."""
    check_shares(shares)
    digest = hashlib.sha256(f"{seed}/{identity}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    edge = 0.0
    for name, share in shares.items():
        edge += share
        if position < edge:
            return name
    return name  # the last edge may be rounded to less than 1
