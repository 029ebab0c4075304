"""Which addresses are requested: public ones only.

A host name is resolved once, all its addresses are checked, and the connection uses a checked
address, so a name that resolves differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from edge_glass.encoders.public_addresses import AddressError, check_public


def check_address(address: str) -> None:
    """Checks one IP address.

    Raises:
        AddressError: if it is not a public address.
    """
    try:
        check_public(address)
    except AddressError as error:
        raise AddressError(f"{error}; --allow-private allows it") from None


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
