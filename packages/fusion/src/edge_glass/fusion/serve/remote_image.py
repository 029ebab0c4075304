"""An image by its URL: only from public addresses, and time, size and redirects within limits.

A name is resolved once, all its addresses are checked, and the connection uses a checked address,
so a name that resolves differently the second time gains nothing. Each redirect is checked as the
first URL is. Proxies of the environment are not used, because a proxy resolves names itself. At the
end of the time the connection is shut down, however slowly the other side sends.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from edge_glass.encoders.public_addresses import AddressError, check_public
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.limits import Limits

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 3
TOTAL_SECONDS, READ_SECONDS = 20.0, 5.0
CHUNK = 64 * 1024
PORTS = {"http": 80, "https": 443}
# of a path and its query; all else, such as spaces and letters beyond ASCII, is quoted
UNQUOTED = "%/?:@!$&'()*+,;=~"
HEADERS = {"User-Agent": "edge-glass", "Accept": "image/*", "Accept-Encoding": "identity"}


def fetch_image(url: str, limits: Limits, param: str) -> bytes:
    """Returns the body of a URL, after redirects.

    Raises:
        RequestError: if it must not be requested, or there is no such image.
    """
    end = time.monotonic() + TOTAL_SECONDS
    try:
        for _ in range(MAX_REDIRECTS + 1):
            body, target = _request(url, limits.max_body_bytes, end)
            if target is None:
                return body
            url = urljoin(url, target)
        reason = f"more than {MAX_REDIRECTS} redirects"
    except AddressError as error:
        reason = str(error)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = "it took too long" if time.monotonic() > end else _reason(error)
    raise RequestError(
        400, f"the image can't be requested: {reason}", param=param, code="invalid_image_url"
    )


def _reason(error: Exception) -> str:
    """Returns why a request failed, for a client."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, ValueError | http.client.InvalidURL):
        return "the URL is not valid"
    return "its server sent no valid response"


def _request(url: str, max_bytes: int, end: float) -> tuple[bytes, str | None]:
    """Requests one URL; returns its body, or the URL that it redirects to."""
    parts = urlsplit(url)
    with _connect(parts) as stream, _until(end, stream):
        connection = _http(parts, stream)
        try:
            found = _response(connection, parts, max_bytes)
        finally:
            connection.close()
    if time.monotonic() > end:  # what was cut off may look whole
        raise TimeoutError
    return found


def _response(
    connection: http.client.HTTPConnection, parts: SplitResult, max_bytes: int
) -> tuple[bytes, str | None]:
    path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    connection.request("GET", quote(path, safe=UNQUOTED), headers=HEADERS)
    response = connection.getresponse()
    if response.status in REDIRECTS:
        return b"", response.getheader("Location") or ""
    if response.status != 200:
        raise AddressError(f"its status is {response.status}")
    body = bytearray()
    while chunk := response.read1(CHUNK):
        body += chunk
        if len(body) > max_bytes:
            raise AddressError(f"it has more than {max_bytes} bytes")
    return bytes(body), None


def _connect(parts: SplitResult) -> socket.socket:
    """Connects to the first address of a host, after all of them are checked."""
    if parts.scheme not in PORTS:
        raise AddressError(f"scheme {parts.scheme[:20]!r} is not http or https")
    if not parts.hostname:
        raise AddressError("the URL has no host")
    port = parts.port or PORTS[parts.scheme]
    found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        check_public(address)
    return socket.create_connection((addresses[0], port), timeout=READ_SECONDS)


def _http(parts: SplitResult, stream: socket.socket) -> http.client.HTTPConnection:
    """Returns a connection over a stream, with TLS for https."""
    host = parts.hostname or ""
    port = parts.port or PORTS[parts.scheme]
    connection = http.client.HTTPConnection(host, port, timeout=READ_SECONDS)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=READ_SECONDS, context=context)
        stream = context.wrap_socket(stream, server_hostname=host)
    connection.sock = stream  # request() then opens none of its own
    return connection


@contextmanager
def _until(end: float, stream: socket.socket) -> Iterator[None]:
    """Shuts a connection down at a time, which ends a read that waits in a different thread.

    A timeout of a socket begins anew with each byte, so a slow sender of headers would never reach
    it.
    """
    with stream.dup() as same:  # TLS takes the stream's own descriptor

        def shut_down() -> None:
            with suppress(OSError):  # it has ended already
                same.shutdown(socket.SHUT_RDWR)

        timer = Timer(max(0.0, end - time.monotonic()), shut_down)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
