"""How long to wait before another attempt: a function of seed, picture and attempt."""

from __future__ import annotations

import hashlib
from email.utils import parsedate_to_datetime


def backoff(attempt: int, *, base: float, cap: float, seed: int, key: str) -> float:
    """Returns the seconds to wait after attempt number `attempt` (from 1).

    base, 2 base, 4 base … up to `cap`, of which half is jitter, drawn by a counter: two pictures
    that fail together don't come back together, and a rerun waits the same.
    """
    full = min(cap, base * 2.0 ** min(attempt - 1, 62))
    digest = hashlib.sha256(f"{seed}:{key}:{attempt}".encode()).digest()
    jitter = int.from_bytes(digest[:8], "big") / 2**64
    return full * (0.5 + 0.5 * jitter)


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Reads a `Retry-After` header: seconds or a date; None where it says nothing usable.

    Args:
        value: the header.
        now: seconds since 1970.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value[:18]), 10**12))
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None
