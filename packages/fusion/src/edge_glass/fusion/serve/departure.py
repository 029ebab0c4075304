"""A client that leaves before its response is there: its work is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request

from edge_glass.fusion.serve.failure import RequestError

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


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
