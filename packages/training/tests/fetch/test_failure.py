"""How long to wait before the next attempt, and what an HTTP status means."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from edge_glass.training.fetch.failure import backoff, http_failure, parse_retry_after


def test_backoff_doubles_up_to_a_cap_and_half_of_it_is_jitter() -> None:
    for attempt, full in [(1, 1.0), (2, 2.0), (3, 4.0), (7, 60.0), (2000, 60.0)]:
        waits = [
            backoff(attempt, base=1, cap=60, seed=0, key=f"url {number}") for number in range(400)
        ]
        assert full / 2 <= min(waits) < 0.55 * full
        assert 0.95 * full < max(waits) <= full


def test_backoff_is_a_function_of_its_arguments() -> None:
    def wait(**changes: object) -> float:
        options = {"attempt": 1, "base": 1, "cap": 60, "seed": 0, "key": "a", **changes}
        attempt = options.pop("attempt")
        return backoff(attempt, **options)  # type: ignore[arg-type]

    assert wait() == wait()
    assert len({wait(), wait(seed=1), wait(key="b"), wait(attempt=2)}) == 4


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        (formatdate(1_000_090, usegmt=True), 90.0),
        (formatdate(999_000, usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("9" * 400, 1e12),
        ("Fri, 99 Foo 9999 99:99:99 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=1_000_000) == seconds


@pytest.mark.parametrize(
    ("code", "status", "retry"),
    [
        (404, "dead", False),
        (410, "dead", False),
        (403, "failed", False),
        (451, "failed", False),
        (204, "failed", False),
        (429, "failed", True),
        (500, "failed", True),
        (503, "failed", True),
        (522, "failed", True),
    ],
)
def test_what_a_status_means(code: int, status: str, retry: bool) -> None:
    failure = http_failure(code, None)
    assert (failure.reason, failure.status, failure.retry) == (f"http_{code}", status, retry)
    assert failure.slow_down is (code == 429)
    assert http_failure(503, 5.0).slow_down
