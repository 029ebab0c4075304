"""Requests on their way: admitted or refused, and counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from edge_glass.fusion.serve.context import Context
from edge_glass.fusion.serve.failure import RequestError, error_response

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


LEFT, FAILED = "499", "500"  # the client left before a response began; a fault of the server
MAX_DIGITS = 18  # of a number of bytes
DRAINED, DRAIN_SECONDS = 4, 2.0  # of a refused body: so many times the largest allowed one


class Incoming:
    """The messages of a request, and whether its body has ended."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._more = receive, True

    async def receive(self) -> Message:
        """Returns the next message."""
        message = await self._receive()
        self._more = bool(message.get("more_body", False))
        return message

    async def drain(self, max_bytes: int, length: bytes) -> None:
        """Reads the rest of a refused body, unless its `length` (Content-Length) is too large.

        A client that is still sending would otherwise see a closed connection, and no reason.
        """
        if len(length) > MAX_DIGITS or int(length) > max_bytes:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._more and max_bytes > 0:
                    max_bytes -= len((await self.receive()).get("body", b""))


class Traffic:
    """ASGI middleware: a POST needs a free place of the queue; each request is counted."""

    def __init__(self, app: AsgiApp, context: Context) -> None:
        self.app, self.context = app, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        status = LEFT
        body = Incoming(receive)
        length = dict(scope["headers"]).get(b"content-length", b"0")

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                if message["status"] >= 400 and message["status"] != 408:
                    await body.drain(DRAINED * self.context.limits.max_body_bytes, length)
            await send(message)

        try:
            if scope["method"] == "POST":
                await self._admit(scope, body.receive, counted)
            else:
                await self.app(scope, body.receive, counted)
        except Exception:  # its response is sent by what called this
            status = FAILED if status == LEFT else status
            raise
        finally:
            # the template of the path: paths themselves would be an unlimited number of labels
            route = getattr(scope.get("route"), "path", "other")
            self.context.metrics.count(route, status, time.perf_counter() - start)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self.context.worker.admitted():
                await self.app(scope, receive, send)
        except RequestError as error:  # those of routes are answered inside
            await error_response(error)(scope, receive, send)
