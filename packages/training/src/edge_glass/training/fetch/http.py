"""One image over HTTP: only public addresses, and time, size and redirects within limits.

Redirects are followed here and not by aiohttp, so each hop is checked as the first URL is, and is
sent byte for byte too. Proxies of the environment are not used, because a proxy resolves names
itself; `--proxy` names one.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from edge_glass.encoders.public_addresses import AddressError
from edge_glass.training.fetch.addresses import PublicResolver, check_url
from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.failure import FetchError, http_failure, parse_retry_after
from edge_glass.training.fetch.proxy import Proxy, check_name
from edge_glass.training.fetch.targets import parse_url, redirected

REDIRECTS = (301, 302, 303, 307, 308)
# only a few bodies larger than this are read at once, so memory stays bounded
LARGE_BYTES = 4 * 2**20
MAX_LARGE = 8
HEADER_BYTES = 64 * 2**10  # of one header, and of the status line
MAX_HEADERS = 1024


class Client:
    """A session of requests; an async context manager.

    Args:
        config: the limits.
        resolver: resolves host names; by default only to public addresses, unless
            `config.allow_private`.
    """

    def __init__(self, config: FetchConfig, resolver: AbstractResolver | None = None) -> None:
        self._config = config
        self._resolver = resolver
        self._proxy = None if config.proxy is None else Proxy.parse(config.proxy)
        self._large = asyncio.Semaphore(MAX_LARGE)

    def _timeout(self, total: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=total,
            sock_connect=self._config.connect_timeout,
            sock_read=self._config.read_timeout,
        )

    async def __aenter__(self) -> Client:
        config = self._config
        public = None if config.allow_private else self._resolver or PublicResolver()
        # a proxy itself may have a private address
        resolver = public or self._resolver if self._proxy is None else ThreadedResolver()
        self._names = public
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the request queue limits both
                limit_per_host=0,
                resolver=resolver,
                ttl_dns_cache=300,
            ),
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=MAX_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": config.user_agent,
                "Accept": "image/*,*/*;q=0.5",
                "Accept-Encoding": "identity",  # images are compressed already
            },
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, url: str) -> bytes:
        """Returns the body of a URL, after redirects.

        Raises:
            FetchError: with the reason, and whether to try again.
        """
        try:
            return await self._follow(url)
        except TimeoutError as error:
            raise FetchError("timeout", str(error), retry=True) from None
        except AddressError as error:
            raise FetchError("refused_address", str(error), status="refused") from None
        except aiohttp.InvalidURL as error:
            raise FetchError("bad_url", str(error), status="refused") from None
        except aiohttp.ClientProxyConnectionError as error:
            raise FetchError("proxy_unreachable", str(error), retry=True) from None
        except aiohttp.ClientHttpProxyError as error:
            retry = error.status >= 500
            raise FetchError(f"proxy_http_{error.status}", error.message, retry=retry) from None
        except aiohttp.ClientConnectorDNSError as error:
            raise FetchError("dns_failed", str(error), retry=True) from None
        except aiohttp.ClientSSLError as error:
            raise FetchError("tls_failed", str(error)) from None
        except aiohttp.ClientPayloadError as error:
            raise FetchError("truncated_body", str(error), retry=True) from None
        except aiohttp.ClientConnectionError as error:
            raise FetchError("connection_lost", str(error), retry=True) from None
        except aiohttp.ClientError as error:
            raise FetchError("bad_response", str(error), retry=True) from None

    async def _follow(self, text: str) -> bytes:
        try:
            url = parse_url(text)
        except ValueError as error:
            raise FetchError("bad_url", str(error), status="refused") from None
        end = time.monotonic() + self._config.total_timeout
        for _ in range(self._config.max_redirects + 1):
            check_url(url, allow_private=self._config.allow_private)
            async with await self._request(url, end) as response:
                if response.status == 200:
                    return await self._read(response)
                if response.status not in REDIRECTS:
                    if response.status == 407 and self._proxy is not None:
                        raise FetchError("proxy_http_407", "the proxy requests a password")
                    header = response.headers.get("Retry-After")
                    raise http_failure(response.status, parse_retry_after(header, now=time.time()))
                target = response.headers.get("Location")
            if not target:
                raise FetchError("redirect_nowhere", f"{url} has no Location")
            try:
                url = redirected(url, target)
            except ValueError as error:
                raise FetchError("redirect_nowhere", f"{url} has {target!r}: {error}") from None
        raise FetchError("too_many_redirects", f"more than {self._config.max_redirects}")

    async def _request(self, url: URL, end: float) -> aiohttp.ClientResponse:
        """Requests one URL, until the time `end`, which all hops of an image share."""
        options: dict[str, Any] = {}
        if self._proxy is not None:
            if self._names is not None:
                async with asyncio.timeout(max(0.001, end - time.monotonic())):
                    await check_name(url, self._names)
            headers, tunnel = self._proxy.headers(url)
            options = {"proxy": self._proxy.url, "headers": headers, "proxy_headers": tunnel}
        timeout = self._timeout(max(0.001, end - time.monotonic()))
        return await self._session.get(url, allow_redirects=False, timeout=timeout, **options)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit, size = self._config.max_bytes, response.content_length
        if size is not None and size > limit:
            raise _too_large(size, limit)
        if size is not None and size <= LARGE_BYTES and "Content-Encoding" not in response.headers:
            return await response.read()  # the parser reads at most Content-Length bytes
        chunks: list[bytes] = []
        total = 0
        large = False
        try:
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                total += len(chunk)
                if total > limit:
                    raise _too_large(total, limit)
                if total > LARGE_BYTES and not large:
                    await self._large.acquire()
                    large = True
        finally:
            if large:
                self._large.release()
        return b"".join(chunks)


def _too_large(size: int, limit: int) -> FetchError:
    return FetchError("too_large", f"{size} bytes or more, max_bytes is {limit}", status="refused")
