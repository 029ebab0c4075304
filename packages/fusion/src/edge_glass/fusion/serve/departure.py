"""A client that leaves before its response is there: its work is given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.traffic import Receive, Scope, Send

ResultT = TypeVar("ResultT")


async def unless_left(request: Request, work: Awaitable[ResultT]) -> ResultT:
    """Waits for work, and cancels it if the client leaves. The body must have been read.

    Raises:
        RequestError: 499 if the client left; nobody reads it.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise RequestError(499, "the client closed the connection")
    finally:
        for each in (working, leaving):
            each.cancel()


class WorkResponse(StreamingResponse):  # type: ignore[misc] # an extra, see pyproject.toml
    """A response that is streamed while work goes on, which ends when the client leaves.

    Starlette stops sending, but leaves the generators to the garbage collector.

    Args:
        content: what is sent.
        work: the generator that `content` reads, from `Worker.stream`.
        media_type: of the content.
        headers: of the response.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        work: AsyncGenerator[Any, None],
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._work.aclose()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
