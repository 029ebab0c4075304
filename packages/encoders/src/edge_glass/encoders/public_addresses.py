"""Which IP addresses a program may request for strangers: public ones only."""

from __future__ import annotations

import ipaddress

# IPv4 inside IPv6: a translator on the route delivers these to the IPv4 address
NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


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
                f"{address} is not a public address (private, loopback, link-local or reserved)"
            )
