"""A proxy that all requests go through, if one is given.

The proxy opens the connections, so it has the last word on which addresses are reached. What can be
checked here still is, before each request and each redirect: addresses in URLs, and names that this
machine resolves. Names of a local network are refused by their form. Other names that can't be
resolved here, which is usual behind a proxy, are left to the proxy's own rules.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

from aiohttp.abc import AbstractResolver
from yarl import URL

from edge_glass.encoders.files import DataError
from edge_glass.encoders.public_addresses import AddressError

VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
# of local networks: RFC 6761, RFC 6762, RFC 8375, and names that ICANN keeps for private use
LOCAL = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "corp",
    "home",
    "home.arpa",
    "private",
)


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """Where a proxy is.

    Attributes:
        url: without user and password, so that no message can hold them.
        credentials: the header that carries them, or none.
    """

    url: URL
    credentials: dict[str, str] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `http://USER:PASSWORD@HOST:PORT`; user and password may be missing.

        Raises:
            DataError: without the text, because it may hold a password.
        """
        try:
            url = URL(text.strip() if "://" in text else f"http://{text.strip()}")
            bare = URL.build(scheme=url.scheme, host=url.host or "", port=url.port)
        except ValueError:
            raise DataError(
                "--proxy is not a URL: expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"
            ) from None
        if url.scheme not in ("http", "https") or not url.host:
            raise DataError(
                f"--proxy has the scheme {url.scheme!r}: expected an http or https proxy, "
                "such as http://HOST:PORT"
            )
        header = {}
        if url.raw_user is not None:
            pair = f"{unquote(url.raw_user)}:{unquote(url.raw_password or '')}"
            header["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return cls(url=bare, credentials=header)

    def headers(self, target: URL) -> tuple[dict[str, str], dict[str, str]]:
        """Returns the headers for the request, and those for the tunnel that https goes through."""
        return ({}, self.credentials) if target.scheme == "https" else (self.credentials, {})


async def check_name(url: URL, resolver: AbstractResolver) -> None:
    """Checks the name in a URL, as far as this machine can.

    Args:
        url: that the proxy is to request.
        resolver: refuses names that have an address which is not public.

    Raises:
        AddressError: if the name belongs to a local network.
    """
    host = (url.raw_host or "").rstrip(".")
    if "." not in host and ":" not in host:
        raise AddressError(f"{host!r} is a name of a local network; --allow-private allows it")
    if any(host.endswith(f".{suffix}") for suffix in LOCAL):
        raise AddressError(f"{host!r} is a name of a local network; --allow-private allows it")
    try:
        await resolver.resolve(host, url.port or 80)
    except AddressError:
        raise
    except OSError:
        return  # the proxy resolves it


def notice(proxy: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Returns the line that states how requests go, or None if no proxy is in sight."""
    if proxy is not None:
        return (
            f"fetch: requests go through the proxy {Proxy.parse(proxy).url}, which resolves the "
            "names that this machine can't resolve"
        )
    name = next((each for each in VARIABLES if environment.get(each, "").strip()), None)
    if name is None:
        return None
    return (
        f"fetch: {name} is set, and it is not used: requests go directly. "
        f'To use that proxy, set EDGE_GLASS_PROXY="${name}"'
    )
