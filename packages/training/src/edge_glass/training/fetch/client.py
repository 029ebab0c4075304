"""One picture by HTTP: redirects, time and size within limits, every failure with a reason.

What is unusual: redirects are followed here and not by aiohttp, so that each hop is checked; the
environment's proxies are not used, since a proxy resolves names for us; no cookies are kept.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

import aiohttp
from yarl import URL

from edge_glass.training.fetch.address import AddressError, PublicResolver, check_url
from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.failure import FetchError, http_failure
from edge_glass.training.fetch.retry import parse_retry_after

REDIRECTS = (301, 302, 303, 307, 308)
# a body beyond this waits for one of a few places, so that memory stays bounded
LARGE = 4 * 2**20
LARGE_AT_A_TIME = 8


class Client:
    """A session of requests; an async context manager."""

    def __init__(self, config: FetchConfig) -> None:
        self._config = config
        self._timeout = self._within(config.total_timeout)
        self._large = asyncio.Semaphore(LARGE_AT_A_TIME)

    def _within(self, total: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=total,
            sock_connect=self._config.connect_timeout,
            sock_read=self._config.read_timeout,
        )

    async def __aenter__(self) -> Client:
        config = self._config
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the frontier bounds both
                limit_per_host=0,
                resolver=None if config.allow_private else PublicResolver(),
                ttl_dns_cache=300,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": config.user_agent,
                "Accept": "image/*,*/*;q=0.5",
                "Accept-Encoding": "identity",  # pictures are compressed already
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
        """Returns the body that a URL leads to.

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
        url, timeout = _parse(text), self._timeout
        end = time.monotonic() + self._config.total_timeout
        for _ in range(self._config.max_redirects + 1):
            check_url(url, allow_private=self._config.allow_private)
            async with self._session.get(url, allow_redirects=False, timeout=timeout) as response:
                if response.status == 200:
                    return await self._read(response)
                if response.status not in REDIRECTS:
                    header = response.headers.get("Retry-After")
                    raise http_failure(response.status, parse_retry_after(header, now=time.time()))
                place = response.headers.get("Location")
            if not place:
                raise FetchError("redirect_nowhere", f"{url} names no Location")
            try:
                url = url.join(_parse(place, base=True))
            except ValueError as error:
                raise FetchError("redirect_nowhere", f"{url} names {place!r}: {error}") from None
            # the time is for all of them together
            left = max(0.001, end - time.monotonic())
            timeout = self._within(left)
        raise FetchError("too_many_redirects", f"more than {self._config.max_redirects}")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit, size = self._config.max_bytes, response.content_length
        if size is not None and size > limit:
            raise _too_large(size, limit)
        if size is not None and size <= LARGE and "Content-Encoding" not in response.headers:
            return await response.read()  # the parser reads no more than the length says
        chunks: list[bytes] = []
        total = 0
        large = False
        try:
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                total += len(chunk)
                if total > limit:
                    raise _too_large(total, limit)
                if total > LARGE and not large:
                    await self._large.acquire()
                    large = True
        finally:
            if large:
                self._large.release()
        return b"".join(chunks)


def _parse(text: str, *, base: bool = False) -> URL:
    try:
        url = URL(text)
    except (ValueError, TypeError) as error:
        raise FetchError("bad_url", f"{text!r}: {error}", status="refused") from None
    if not base and not url.absolute:
        raise FetchError("bad_url", f"{text!r} is not absolute", status="refused")
    return url


def _too_large(size: int, limit: int) -> FetchError:
    return FetchError("too_large", f"{size} bytes or more, max_bytes is {limit}", status="refused")
