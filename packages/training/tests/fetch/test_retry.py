"""Waiting times as functions, and which pictures come next."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import pytest

from edge_glass.training.fetch.failure import http_failure
from edge_glass.training.fetch.frontier import Frontier
from edge_glass.training.fetch.retry import backoff, parse_retry_after


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


def source(*urls: str) -> list[tuple[int, str]]:
    return list(enumerate(urls))


def test_hosts_take_turns_and_keep_to_their_number() -> None:
    async def run() -> None:
        urls = [f"http://a/{n}" for n in range(5)] + [f"http://b/{n}" for n in range(2)]
        frontier = Frontier(iter(source(*urls)), per_host=2, window=100)
        taken = [await frontier.take() for _ in range(4)]
        assert [item.url for item in taken if item] == [
            "http://a/0",
            "http://b/0",
            "http://a/1",
            "http://b/1",
        ]
        following = asyncio.create_task(frontier.take())
        await asyncio.sleep(0)
        assert not following.done()  # both hosts are at their number
        assert taken[0] is not None
        frontier.release(taken[0])
        frontier.settle()
        item = await following
        assert item is not None
        assert item.url == "http://a/2"

    asyncio.run(run())


def test_it_ends_when_everything_is_settled_and_not_before() -> None:
    async def run() -> None:
        frontier = Frontier(iter(source("http://a/0")), per_host=1, window=10)
        item = await frontier.take()
        assert item is not None
        takers = [asyncio.create_task(frontier.take()) for _ in range(3)]
        await asyncio.sleep(0)
        frontier.release(item)
        frontier.retry(item, 0.01)
        done, _ = await asyncio.wait(takers, return_when=asyncio.FIRST_COMPLETED)
        again = done.pop().result()
        assert again is item
        assert again.attempt == 2
        frontier.release(again)
        frontier.settle()
        assert [await task for task in takers].count(None) == 2

    asyncio.run(run())


def test_a_paused_host_waits_and_others_go_on() -> None:
    async def run() -> None:
        urls = ["http://a/0", "http://a/1", "http://b/0"]
        frontier = Frontier(iter(source(*urls)), per_host=1, window=10)
        first = await frontier.take()
        assert first is not None
        start = time.monotonic()
        frontier.pause(first, 0.05)
        frontier.release(first)
        frontier.settle()
        other = await frontier.take()
        assert other is not None
        assert other.url == "http://b/0"
        frontier.release(other)
        frontier.settle()
        late = await frontier.take()
        assert late is not None
        assert late.url == "http://a/1"
        assert time.monotonic() - start >= 0.05

    asyncio.run(run())


def test_no_more_than_a_window_is_read_ahead() -> None:
    async def run() -> None:
        read = 0

        def endless() -> object:
            nonlocal read
            while True:
                yield read, f"http://host{read}/"
                read += 1

        frontier = Frontier(endless(), per_host=1, window=50)  # type: ignore[arg-type]
        for _ in range(200):
            item = await frontier.take()
            assert item is not None
            frontier.release(item)
            frontier.settle()
        assert read <= 250
        assert len(frontier._hosts) <= 50

    asyncio.run(run())
