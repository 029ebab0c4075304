"""Why an image is missing, and how long to wait before the next attempt."""

from __future__ import annotations

import hashlib
from email.utils import parsedate_to_datetime
from typing import Literal

Status = Literal["ok", "dead", "failed", "refused", "placeholder"]

# the server reports that the file is gone for good
DEAD = (404, 410)
# temporary trouble of the server; 52x and 530 are Cloudflare's
RETRYABLE = (408, 425, 429, 500, 502, 503, 504, *range(520, 528), 530)


class FetchError(Exception):
    """One attempt that brought no image.

    Attributes:
        reason: a short name for the counts.
        status: "dead", "failed" or "refused".
        retry: whether a second attempt in the same run makes sense.
        retry_after: seconds that the server requests us to wait, without our limit.
        slow_down: whether to pause all requests to this host.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        status: Status = "failed",
        retry: bool = False,
        retry_after: float | None = None,
        slow_down: bool = False,
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.status = status
        self.retry = retry
        self.retry_after = retry_after
        self.slow_down = slow_down


def http_failure(code: int, retry_after: float | None) -> FetchError:
    """Returns the failure that an HTTP status means."""
    reason = f"http_{code}"
    if code in DEAD:
        return FetchError(reason, status="dead")
    return FetchError(
        reason,
        retry=code in RETRYABLE,
        retry_after=retry_after,
        slow_down=code == 429 or retry_after is not None,
    )


def backoff(attempt: int, *, base: float, cap: float, seed: int, key: str) -> float:
    """Returns the seconds to wait after attempt number `attempt` (from 1).

    The wait is base, 2 base, 4 base … up to `cap`. Half of it is jitter, a function of the
    arguments: two images that fail together do not return together, and a second run waits equally
    long.
    """
    full = min(cap, base * 2.0 ** min(attempt - 1, 62))
    digest = hashlib.sha256(f"{seed}:{key}:{attempt}".encode()).digest()
    jitter = int.from_bytes(digest[:8], "big") / 2**64
    return full * (0.5 + 0.5 * jitter)


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Reads a `Retry-After` header, in seconds or as a date; returns None if it is unusable.

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
