"""Where a request may go: http(s), and public addresses only, unless allowed otherwise.

A name is resolved once, every address that it has is checked, and the connection goes to a checked
address: a name that answers differently the second time (DNS rebinding) gains nothing. An address
that is written into the URL is checked as it stands. Both happen for each redirect anew.
"""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

# IPv4 inside IPv6: a translator on the way would deliver it to the IPv4 address
NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class AddressError(ValueError):
    """A URL or an address that may not be asked; says which and why."""


def check_address(address: str) -> None:
    """Checks one IP address.

    Raises:
        AddressError: where it is not a public one.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        raise AddressError(f"{address!r} is no IP address") from None
    inner: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [parsed]
    if isinstance(parsed, ipaddress.IPv6Address):
        teredo = parsed.teredo or ()
        inner += [each for each in (parsed.ipv4_mapped, parsed.sixtofour, *teredo) if each]
        if any(parsed in network for network in NAT64):
            inner.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
    mapped = isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None
    # of a mapped address only the IPv4 part counts: the outside is "reserved" by itself
    for each in inner[1:] if mapped else inner:
        if not each.is_global or each.is_multicast:
            raise AddressError(
                f"{address} is not a public address (private, loopback, link-local or reserved); "
                "--allow-private asks it all the same"
            )


def check_url(url: URL, *, allow_private: bool) -> None:
    """Checks scheme and host of a URL, before any connection.

    Raises:
        AddressError: where it is not http(s), has no host, or names an address that is not
            public.
    """
    if url.scheme not in ("http", "https"):
        raise AddressError(f"scheme {url.scheme!r} is not http or https")
    host = url.host
    if not host:
        raise AddressError("no host")
    # names are checked when they are resolved; what looks like an address never is
    if not allow_private and (":" in host or host.replace(".", "").isdigit()):
        check_address(host)


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses one that has any address which is not public."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            try:
                check_address(each["host"])
            except AddressError as error:
                raise AddressError(f"{host}: {error}") from None
        return found

    async def close(self) -> None:
        await self._resolver.close()
