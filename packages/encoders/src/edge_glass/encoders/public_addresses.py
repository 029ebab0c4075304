"""Which IP addresses a program may request for strangers: public ones only."""

from __future__ import annotations

import ipaddress

# IPv4 inside IPv6: a translator on the route delivers these to the IPv4 address
NAT64 = ipaddress.ip_network("64:ff9b::/96")
# all other public IPv6 addresses; the rest is local, reserved or of a former use, such as fec0::/10
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


class AddressError(ValueError):
    """A URL or an address that must not be requested; the message has the reason."""


def check_public(address: str) -> None:
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
        if parsed in NAT64:
            checked = [ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)]
        elif parsed.ipv4_mapped is not None:
            checked = [parsed.ipv4_mapped]
        else:
            teredo = parsed.teredo or ()
            checked += [inner for inner in (parsed.sixtofour, *teredo) if inner]
    for ip in checked:
        is_unicast = ip.version == 4 or ip in GLOBAL_UNICAST
        if not ip.is_global or ip.is_multicast or not is_unicast:
            raise AddressError(
                f"{address} is not a public address (private, loopback, link-local or reserved)"
            )
