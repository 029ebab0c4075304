"""How a picture can fail: dead, refused, or failed and worth another try."""

from __future__ import annotations

from typing import Literal

Status = Literal["ok", "dead", "failed", "refused"]

# gone for good, says the server
DEAD = (404, 410)
# the server's trouble or haste, not ours; 52x and 530 are Cloudflare's
RETRYABLE = (408, 425, 429, 500, 502, 503, 504, *range(520, 528), 530)


class FetchError(Exception):
    """One attempt that brought no picture.

    Attributes:
        reason: a short name to count by.
        status: "dead", "failed" or "refused".
        retry: whether another attempt in the same run makes sense.
        retry_after: seconds the server asks to wait, not yet capped.
        slow_down: whether the whole host is to be left alone for a while.
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
