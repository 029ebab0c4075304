"""Which picture is asked for next: in input order, hosts taking turns, none asked too often.

Holds a window of the pictures to come, so that slow hosts don't hold up the others and two million
urls are never in memory at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Item:
    """A picture on its way."""

    picture: int
    url: str
    attempt: int = 0
    host: _Host | None = None


@dataclass(slots=True)
class _Host:
    name: str
    waiting: deque[Item] = field(default_factory=deque)
    active: int = 0
    paused_until: float = 0.0
    listed: bool = False


class Frontier:
    """Pictures to fetch; all methods run in one event loop."""

    def __init__(self, source: Iterator[tuple[int, str]], *, per_host: int, window: int) -> None:
        self._source = source
        self._per_host = per_host
        self._window = window
        self._hosts: dict[str, _Host] = {}
        self._ready: deque[_Host] = deque()
        self._sleepers: deque[asyncio.Future[None]] = deque()
        self._exhausted = False
        self._open = 0
        self._loop = asyncio.get_running_loop()

    async def take(self) -> Item | None:
        """Waits for the next picture; None once all are settled."""
        while True:
            self._fill()
            item = self._pop()
            if item is not None:
                return item
            if self._exhausted and not self._open:
                self._wake(everyone=True)
                return None
            sleeper = self._loop.create_future()
            self._sleepers.append(sleeper)
            await sleeper

    def release(self, item: Item) -> None:
        """Frees the host's place; the picture is not settled by that."""
        host = item.host
        assert host is not None
        host.active -= 1
        self._list(host)
        if not host.waiting and not host.active and host.paused_until <= self._loop.time():
            self._hosts.pop(host.name, None)

    def settle(self) -> None:
        """Takes one picture, or one hold, off the count of what is open."""
        self._open -= 1
        # a place in the window, or the end
        self._wake(everyone=not self._open)

    def hold(self) -> None:
        """Keeps `take` from ending until `settle`: more may come."""
        self._open += 1

    def add(self, picture: int, url: str) -> None:
        """Adds a picture that the source does not have, or has given already."""
        self._open += 1
        self._push(Item(picture, url))

    def retry(self, item: Item, delay: float) -> None:
        """Brings a released picture back after some seconds."""
        self._loop.call_later(delay, self._push, item)

    def pause(self, item: Item, delay: float) -> None:
        """Leaves a picture's host alone for some seconds."""
        host = self._host(item.url)
        host.paused_until = max(host.paused_until, self._loop.time() + delay)
        # a little later, because timers may fire a clock tick early
        self._loop.call_later(delay + 0.01, self._list, host)

    def _host(self, url: str) -> _Host:
        name = host_of(url)
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name)
        return host

    def _push(self, item: Item) -> None:
        host = item.host = self._host(item.url)
        if item.attempt:  # it has waited already
            host.waiting.appendleft(item)
        else:
            host.waiting.append(item)
        self._list(host)

    def _startable(self, host: _Host) -> bool:
        free = host.active < self._per_host
        return bool(host.waiting) and free and host.paused_until <= self._loop.time()

    def _list(self, host: _Host) -> None:
        if not host.listed and self._startable(host):
            host.listed = True
            self._ready.append(host)
            self._wake()

    def _pop(self) -> Item | None:
        while self._ready:
            host = self._ready.popleft()
            host.listed = False
            if self._startable(host):
                item = host.waiting.popleft()
                item.attempt += 1
                host.active += 1
                self._list(host)
                return item
        return None

    def _fill(self) -> None:
        while not self._exhausted and self._open < self._window:
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


def host_of(url: str) -> str:
    """Returns a url's host, with its port, in small letters."""
    parts = url.split("/", 3)
    return parts[2].lower() if len(parts) > 2 else ""
