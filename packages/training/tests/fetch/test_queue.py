"""Which request is next: hosts take turns, within limits, and nothing is forgotten."""

from __future__ import annotations

import asyncio
import time

from edge_glass.training.fetch.queue import RequestQueue


def source(*urls: str) -> list[tuple[int, str]]:
    return list(enumerate(urls))


def test_hosts_take_turns_within_their_limit() -> None:
    async def run() -> None:
        urls = [f"http://a/{n}" for n in range(5)] + [f"http://b/{n}" for n in range(2)]
        queue = RequestQueue(iter(source(*urls)), per_host=2, window=100)
        taken = [await queue.take() for _ in range(4)]
        assert [request.url for request in taken if request] == [
            "http://a/0",
            "http://b/0",
            "http://a/1",
            "http://b/1",
        ]
        following = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        assert not following.done()  # both hosts have two requests
        assert taken[0] is not None
        queue.release(taken[0])
        queue.finish()
        request = await following
        assert request is not None
        assert request.url == "http://a/2"

    asyncio.run(run())


def test_it_ends_when_everything_is_finished_and_not_before() -> None:
    async def run() -> None:
        queue = RequestQueue(iter(source("http://a/0")), per_host=1, window=10)
        request = await queue.take()
        assert request is not None
        takers = [asyncio.create_task(queue.take()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.release(request)
        queue.retry(request, 0.01)
        done, _ = await asyncio.wait(takers, return_when=asyncio.FIRST_COMPLETED)
        again = done.pop().result()
        assert again is request
        assert again.attempt == 2
        queue.release(again)
        queue.finish()
        assert [await task for task in takers].count(None) == 2

    asyncio.run(run())


def test_a_paused_host_waits_and_others_go_on() -> None:
    async def run() -> None:
        urls = ["http://a/0", "http://a/1", "http://b/0"]
        queue = RequestQueue(iter(source(*urls)), per_host=1, window=10)
        first = await queue.take()
        assert first is not None
        start = time.monotonic()
        queue.pause(first, 0.05)
        queue.release(first)
        queue.finish()
        other = await queue.take()
        assert other is not None
        assert other.url == "http://b/0"
        queue.release(other)
        queue.finish()
        late = await queue.take()
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

        queue = RequestQueue(endless(), per_host=1, window=50)  # type: ignore[arg-type]
        for _ in range(200):
            request = await queue.take()
            assert request is not None
            queue.release(request)
            queue.finish()
        assert read <= 250
        assert len(queue._hosts) <= 50

    asyncio.run(run())
