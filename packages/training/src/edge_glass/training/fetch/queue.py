"""Two bounded queues: requests that wait for their host, and bodies that wait for a writer.

Requests leave in input order, but hosts take turns and no host gets too many at once. Only a window
of the coming images is in memory, so slow hosts do not hold up the others and two million URLs are
never held at once. All methods run in one event loop.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_QUEUED_BYTES = 64 * 2**20
BATCH_ITEMS = 64
BATCH_BYTES = 8 * 2**20
# a batch costs a round trip to a worker process, so an incomplete one waits this many seconds
BATCH_WAIT = 0.05


@dataclass(slots=True)
class Request:
    """The request for one image; `attempt` is 0 for an image of a mirror."""

    image: int
    url: str
    attempt: int = 0
    host: _Host | None = None


@dataclass(slots=True)
class _Host:
    name: str
    waiting: deque[Request] = field(default_factory=deque)
    active: int = 0
    paused_until: float = 0.0
    listed: bool = False


class RequestQueue:
    """The images to download.

    Args:
        source: image numbers and URLs, in input order.
        per_host: maximum number of parallel requests to one host.
        window: maximum number of unfinished images that are read from the source.
    """

    def __init__(self, source: Iterator[tuple[int, str]], *, per_host: int, window: int) -> None:
        self._source = source
        self._per_host = per_host
        self._window = window
        self._hosts: dict[str, _Host] = {}
        self._ready: deque[_Host] = deque()
        self._sleepers: deque[asyncio.Future[None]] = deque()
        self._exhausted = False
        self._unfinished = 0
        self._loop = asyncio.get_running_loop()

    async def take(self) -> Request | None:
        """Waits for the next request; returns None once everything is finished."""
        while True:
            self._fill()
            request = self._pop()
            if request is not None:
                return request
            if self._exhausted and not self._unfinished:
                self._wake(everyone=True)
                return None
            sleeper = self._loop.create_future()
            self._sleepers.append(sleeper)
            await sleeper

    def release(self, request: Request) -> None:
        """Ends a request to its host; the image itself may still be unfinished."""
        host = request.host
        assert host is not None
        host.active -= 1
        self._list(host)
        if not host.waiting and not host.active and host.paused_until <= self._loop.time():
            self._hosts.pop(host.name, None)

    def finish(self) -> None:
        """Counts one image, or one `expect`, as finished."""
        self._unfinished -= 1
        # there is room in the window now, or this was the last one
        self._wake(everyone=not self._unfinished)

    def expect(self) -> None:
        """Keeps `take` from returning None until `finish`, because more requests may follow."""
        self._unfinished += 1

    def add(self, image: int, url: str) -> None:
        """Adds an image that the source does not yield (any more)."""
        self._unfinished += 1
        self._push(Request(image, url))

    def retry(self, request: Request, delay: float) -> None:
        """Queues a released request again after `delay` seconds."""
        self._loop.call_later(delay, self._push, request)

    def pause(self, request: Request, delay: float) -> None:
        """Starts no request to this host for `delay` seconds."""
        host = self._host(request.url)
        host.paused_until = max(host.paused_until, self._loop.time() + delay)
        # a little later, because timers may fire a clock tick early
        self._loop.call_later(delay + 0.01, self._list, host)

    def _host(self, url: str) -> _Host:
        name = host_of(url)
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name)
        return host

    def _push(self, request: Request) -> None:
        host = request.host = self._host(request.url)
        if request.attempt:  # it has waited already
            host.waiting.appendleft(request)
        else:
            host.waiting.append(request)
        self._list(host)

    def _startable(self, host: _Host) -> bool:
        free = host.active < self._per_host
        return bool(host.waiting) and free and host.paused_until <= self._loop.time()

    def _list(self, host: _Host) -> None:
        if not host.listed and self._startable(host):
            host.listed = True
            self._ready.append(host)
            self._wake()

    def _pop(self) -> Request | None:
        while self._ready:
            host = self._ready.popleft()
            host.listed = False
            if self._startable(host):
                request = host.waiting.popleft()
                request.attempt += 1
                host.active += 1
                self._list(host)
                return request
        return None

    def _fill(self) -> None:
        while not self._exhausted and self._unfinished < self._window:
            following = next(self._source, None)
            if following is None:
                self._exhausted = True
            else:
                self.add(*following)

    def _wake(self, *, everyone: bool = False) -> None:
        while self._sleepers:
            sleeper = self._sleepers.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                if not everyone:
                    return


class BodyQueue:
    """Response bodies between the requests and the writers: limited in bytes, taken in batches."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Request, bytes]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False

    async def put(self, request: Request, body: bytes) -> None:
        """Adds a body; waits while too many bytes are queued."""
        while self._bytes >= MAX_QUEUED_BYTES:
            self._room.clear()
            await self._room.wait()
        self._waiting.append((request, body))
        self._bytes += len(body)
        self._filled.set()

    async def take(self) -> list[tuple[Request, bytes]]:
        """Returns a batch; an empty one once the queue is closed and empty."""
        while not self._waiting:
            if self._closed:
                return []
            self._filled.clear()
            await self._filled.wait()
        if len(self._waiting) < BATCH_ITEMS and not self._closed:
            await asyncio.sleep(BATCH_WAIT)
        batch: list[tuple[Request, bytes]] = []
        size = 0
        while self._waiting and len(batch) < BATCH_ITEMS and size < BATCH_BYTES:
            request, body = self._waiting.popleft()
            batch.append((request, body))
            size += len(body)
        self._bytes -= size
        self._room.set()
        # a second taker may have emptied the queue during the wait
        return batch or await self.take()

    def close(self) -> None:
        """Declares that no body follows."""
        self._closed = True
        self._filled.set()


def host_of(url: str) -> str:
    """Returns the host of a URL, with its port, in lower case."""
    parts = re.split("[/?#]", url.strip(), maxsplit=3)
    return parts[2].rpartition("@")[2].lower() if len(parts) > 2 else ""
