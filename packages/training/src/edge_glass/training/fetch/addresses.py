"""Which addresses are requested: public ones only.

A host name is resolved once, all its addresses are checked, and the connection uses a checked
address, so a name that resolves differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

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
    host = url.raw_host
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
