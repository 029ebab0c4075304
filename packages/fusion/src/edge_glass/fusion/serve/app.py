"""The application: all routes of `edge-glass serve`, and what turns errors into JSON.

To add routes, write a function `NAME_routes(context) -> APIRouter` and list it in `create_app`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from edge_glass.fusion.serve.access import OPEN, Access
from edge_glass.fusion.serve.chat import chat_routes
from edge_glass.fusion.serve.context import Context
from edge_glass.fusion.serve.embeddings import embedding_routes
from edge_glass.fusion.serve.failure import RequestError, error_response
from edge_glass.fusion.serve.limits import Limits
from edge_glass.fusion.serve.page import page_files, page_routes
from edge_glass.fusion.serve.page_api import page_api_routes
from edge_glass.fusion.serve.served import Served
from edge_glass.fusion.serve.status import status_routes
from edge_glass.fusion.serve.traffic import Traffic
from edge_glass.fusion.serve.worker import Worker


def create_app(
    served: Served,
    limits: Limits | None = None,
    *,
    token: str | None = None,
    allow_remote: bool = False,
) -> FastAPI:
    """Returns the application for models that are loaded.

    Args:
        served: the models and the index.
        limits: of requests; the defaults if None.
        token: that clients must send; None for programs of this machine only.
        allow_remote: whether image_url may be a public URL.
    """
    limits = limits or Limits()
    worker = Worker(limits.max_queue)
    context = Context(served=served, limits=limits, worker=worker, allow_remote=allow_remote)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    # No pages of documentation: they load scripts from other servers. No schema: routes read their
    # bodies themselves, so it would describe none, and list the files of the page.
    app = FastAPI(title="Edge Glass", openapi_url=None, lifespan=lifespan)
    app.include_router(page_routes())
    for routes in (status_routes, chat_routes, embedding_routes, page_api_routes):
        app.include_router(routes(context))
    app.add_middleware(Access, token=token, is_open=(*OPEN, *page_files()))
    app.add_middleware(Traffic, context=context)
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(RequestValidationError, _wrong_query)
    for status in (404, 405):
        app.add_exception_handler(status, _no_such_route)
    app.add_exception_handler(Exception, _failed)
    return app


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return error_response(error)


async def _wrong_query(_request: Request, error: Exception) -> JSONResponse:
    """Answers a query such as `?side=large`."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])[:40]
    return error_response(RequestError(400, f"{name}: {first['msg']}", param=name))


async def _no_such_route(request: Request, error: Exception) -> JSONResponse:
    """Answers an unknown path or a wrong method."""
    status: int = getattr(error, "status_code", 404)
    reason = "no such path" if status == 404 else "this path has a different method"
    response = error_response(
        RequestError(status, f"{request.method[:20]} {request.url.path[:200]}: {reason}")
    )
    response.headers.update(getattr(error, "headers", None) or {})
    return response


async def _failed(_request: Request, _error: Exception) -> JSONResponse:
    """Answers what is a fault of the server; uvicorn logs the traceback."""
    message = "the server failed on this request; its log has the reason"
    return error_response(RequestError(500, message))
