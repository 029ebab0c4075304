"""An image by its URL: only from public addresses, and time, size and redirects within limits.

A name is resolved once, all its addresses are checked, and the connection uses a checked address,
so a name that resolves differently the second time gains nothing. Each redirect is checked as the
first URL is. Proxies of the environment are not used, because a proxy resolves names itself.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from urllib.parse import SplitResult, urljoin, urlsplit

from edge_glass.encoders.public_addresses import AddressError, check_public
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.limits import Limits

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 3
TOTAL_SECONDS, READ_SECONDS = 20.0, 5.0
CHUNK = 64 * 1024
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
    except TimeoutError:
        reason = "it took too long"
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
    raise RequestError(
        400, f"the image can't be requested: {reason}", param=param, code="invalid_image_url"
    )


def _request(url: str, max_bytes: int, end: float) -> tuple[bytes, str | None]:
    """Requests one URL; returns its body, or where it redirects to."""
    parts = urlsplit(url)
    connection = _connect(parts)
    try:
        path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        connection.request("GET", path, headers=HEADERS)
        response = connection.getresponse()
        if response.status in REDIRECTS:
            return b"", response.getheader("Location") or ""
        if response.status != 200:
            raise AddressError(f"its status is {response.status}")
        body = b""
        while chunk := response.read1(CHUNK):
            body += chunk
            if len(body) > max_bytes:
                raise AddressError(f"it has more than {max_bytes} bytes")
            if time.monotonic() > end:
                raise TimeoutError
        return body, None
    finally:
        connection.close()


def _connect(parts: SplitResult) -> http.client.HTTPConnection:
    """Connects to the first address of a host, after all of them are checked."""
    if parts.scheme not in ("http", "https"):
        raise AddressError(f"scheme {parts.scheme!r} is not http or https")
    if not parts.hostname:
        raise AddressError("the URL has no host")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        check_public(address)
    stream = socket.create_connection((addresses[0], port), timeout=READ_SECONDS)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        stream = context.wrap_socket(stream, server_hostname=parts.hostname)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=READ_SECONDS)
    connection.sock = stream  # request() then opens none of its own
    return connection
