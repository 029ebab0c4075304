"""The page: its files, and the routes below /page/api that only it requests.

The files are fixed when the server starts; no path of a request is looked up on the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

PAGE = Path(__file__).parent / "page"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing from a different host, no inline script or style, and no frame around the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_files() -> dict[str, Path]:
    """Returns the page's files by the path of their request; they hold no data."""
    files = [each for each in sorted(PAGE.iterdir()) if each.suffix in MEDIA_TYPES]
    return {"/" if each.name == "index.html" else f"/page/{each.name}": each for each in files}


def page_routes() -> APIRouter:
    """Returns the routes of the page's files."""
    router = APIRouter()
    for route, path in page_files().items():
        send = _sender(path.read_bytes(), MEDIA_TYPES[path.suffix])
        router.add_api_route(route, send, methods=["GET", "HEAD"])
    return router


def _sender(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    """Returns the endpoint that sends a file, or 304 to a browser that has it."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**HEADERS, "ETag": tag, "Cache-Control": "no-cache"}

    async def send(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return send
