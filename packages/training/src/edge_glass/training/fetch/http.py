"""One image over HTTP: only public addresses, and time, size and redirects within limits.

Three things are unusual. A host name is resolved once, all its addresses are checked, and the
connection uses a checked address, so a name that resolves differently the second time (DNS
rebinding) gains nothing. Redirects are followed here and not by aiohttp, so each hop is checked
too. The proxies of the environment are not used, because a proxy resolves names itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from types import TracebackType

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.failure import FetchError, http_failure, parse_retry_after

REDIRECTS = (301, 302, 303, 307, 308)
# only a few bodies larger than this are read at once, so memory stays bounded
LARGE_BYTES = 4 * 2**20
MAX_LARGE = 8
# IPv4 inside IPv6: a translator on the route delivers these to the IPv4 address
NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class AddressError(ValueError):
    """A URL or an address that must not be requested; the message has the reason."""


def check_address(address: str) -> None:
    """Checks one IP address.

    Raises:
        AddressError: if it is not a public address.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        raise AddressError(f"{address!r} is not an IP address") from None
    checked: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [parsed]
    if isinstance(parsed, ipaddress.IPv6Address):
        teredo = parsed.teredo or ()
        checked += [inner for inner in (parsed.ipv4_mapped, parsed.sixtofour, *teredo) if inner]
        if any(parsed in network for network in NAT64):
            checked.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
        if parsed.ipv4_mapped is not None:
            # check only the inner IPv4: the IPv6 wrapper always counts as reserved
            checked = checked[1:]
    for ip in checked:
        if not ip.is_global or ip.is_multicast:
            raise AddressError(
                f"{address} is not a public address (private, loopback, link-local or reserved); "
                "--allow-private allows it"
            )


def check_url(url: URL, *, allow_private: bool) -> None:
    """Checks scheme and host of a URL, before any connection.

    Raises:
        AddressError: if the scheme is not http(s), if there is no host, or if the host is an
            address that is not public.
    """
    if url.scheme not in ("http", "https"):
        raise AddressError(f"scheme {url.scheme!r} is not http or https")
    host = url.host
    if not host:
        raise AddressError("no host")
    # the resolver checks names, but it never sees a host that is already an address
    if not allow_private and (":" in host or host.replace(".", "").isdigit()):
        check_address(host)


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses a name if any of its addresses is not public."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            try:
                check_address(result["host"])
            except AddressError as error:
                raise AddressError(f"{host}: {error}") from None
        return results

    async def close(self) -> None:
        await self._resolver.close()


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
        self._large = asyncio.Semaphore(MAX_LARGE)

    def _timeout(self, total: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=total,
            sock_connect=self._config.connect_timeout,
            sock_read=self._config.read_timeout,
        )

    async def __aenter__(self) -> Client:
        config = self._config
        public = None if config.allow_private else PublicResolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the request queue limits both
                limit_per_host=0,
                resolver=self._resolver or public,
                ttl_dns_cache=300,
            ),
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
        url, timeout = _parse(text), self._timeout(self._config.total_timeout)
        end = time.monotonic() + self._config.total_timeout
        for _ in range(self._config.max_redirects + 1):
            check_url(url, allow_private=self._config.allow_private)
            async with self._session.get(url, allow_redirects=False, timeout=timeout) as response:
                if response.status == 200:
                    return await self._read(response)
                if response.status not in REDIRECTS:
                    header = response.headers.get("Retry-After")
                    raise http_failure(response.status, parse_retry_after(header, now=time.time()))
                target = response.headers.get("Location")
            if not target:
                raise FetchError("redirect_nowhere", f"{url} has no Location")
            try:
                url = url.join(_parse(target, base=True))
            except ValueError as error:
                raise FetchError("redirect_nowhere", f"{url} has {target!r}: {error}") from None
            # total_timeout covers all hops together
            timeout = self._timeout(max(0.001, end - time.monotonic()))
        raise FetchError("too_many_redirects", f"more than {self._config.max_redirects}")

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
