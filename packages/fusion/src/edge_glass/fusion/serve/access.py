"""Who may send requests: holders of the token, or programs of this machine."""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from edge_glass.fusion.serve.failure import RequestError, error_response
from edge_glass.fusion.serve.traffic import AsgiApp, Receive, Scope, Send

OPEN = ("/health",)  # for load balancers; `create_app` adds the files of the page


class Access:
    """ASGI middleware: requires the token if there is one.

    Without a token the server is reached from this machine only, but a browser on it may be led to
    it by any web page. The host must therefore be a loopback name, and a page of a different
    origin is refused.
    """

    def __init__(self, app: AsgiApp, token: str | None, is_open: tuple[str, ...] = OPEN) -> None:
        self.app, self.is_open = app, is_open
        self.expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except RequestError as error:
                await error_response(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self.expected is None and not is_loopback(_parts(f"//{host}").hostname or ""):
            raise RequestError(
                403,
                f"Host is {host[:100]!r}, expected localhost or 127.0.0.1; start the server with a "
                "token to use it under a different name",
                code="wrong_host",
            )
        origin = headers.get(b"origin")
        if origin is not None and _parts(origin.decode("latin-1")).netloc != host:
            raise RequestError(403, "requests of other web pages are refused", code="wrong_origin")
        if self.expected is None or scope["path"] in self.is_open:
            return
        if not hmac.compare_digest(headers.get(b"authorization", b""), self.expected):
            raise RequestError(
                401,
                "the token is missing or wrong; send the header `Authorization: Bearer TOKEN`",
                code="invalid_api_key",
            )


def is_loopback(host: str) -> bool:
    """Returns whether an address is reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # such as an open bracket
        return urlsplit("")
