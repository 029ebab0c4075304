"""Which addresses and URLs are requested, also if a name resolves differently each time."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from edge_glass.encoders.public_addresses import AddressError
from edge_glass.training.fetch.addresses import PublicResolver, check_address, check_url
from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.failure import FetchError
from edge_glass.training.fetch.http import Client
from fetching import Names
from hostile_server import HostileServer, png


def test_an_address_that_is_not_public_has_a_remedy() -> None:
    check_address("8.8.8.8")
    with pytest.raises(AddressError, match=r"not a public address .*; --allow-private allows it"):
        check_address("10.1.2.3")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,xxxx",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",  # 127.0.0.1 as one number
        "http://127.1/",
    ],
)
def test_urls_that_are_refused_before_any_connection(url: str) -> None:
    with pytest.raises(AddressError):
        check_url(URL(url), allow_private=False)


def test_private_addresses_can_be_allowed_but_other_schemes_cannot() -> None:
    check_url(URL("http://127.0.0.1/"), allow_private=True)
    with pytest.raises(AddressError, match="scheme 'file'"):
        check_url(URL("file:///etc/passwd"), allow_private=True)


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    resolver = PublicResolver(Names(["8.8.8.8", "10.0.0.1"]))
    with pytest.raises(AddressError, match=r"evil.example: 10.0.0.1 is not"):
        asyncio.run(resolver.resolve("evil.example"))


async def get(url: str, resolver: AbstractResolver, **options: Any) -> bytes:
    config = FetchConfig(connect_timeout=0.3, total_timeout=2, **options)
    async with Client(config, resolver) as client:
        return await client.get(url)


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """DNS rebinding: the second answer is private, but the name is resolved only once."""
    names = Names(["203.0.113.7"], ["127.0.0.1"])  # TEST-NET-3: no host has it

    class Checked(PublicResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            return await self._resolver.resolve(host, port, family)  # passes documentation nets

    with HostileServer() as server:
        url = server.url("ok/1", host="rebinding.example")
        with pytest.raises(FetchError) as caught:
            asyncio.run(get(url, Checked(names)))
    assert caught.value.reason in ("timeout", "connection_lost")
    assert names.resolved == 1
    assert not server.hits


def test_a_name_that_is_private_is_refused_without_a_connection() -> None:
    with HostileServer() as server:
        url = server.url("ok/1", host="inside.example")
        with pytest.raises(FetchError) as caught:
            asyncio.run(get(url, PublicResolver(Names(["127.0.0.1"]))))
    assert (caught.value.reason, caught.value.status) == ("refused_address", "refused")
    assert not server.hits


def test_a_redirect_is_checked_as_the_first_url_is() -> None:
    """The first host is allowed, as a public one would be; the target of its redirect is not."""

    class First(PublicResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            if host == "public.example":
                return await Names(["127.0.0.1"]).resolve(host, port, family)
            return await super().resolve(host, port, family)

    with HostileServer() as server:
        inner = f"127.0.0.1:{server.port}/ok/1"
        named = f"inside.example:{server.port}/ok/1"
        for place in (inner, named, f"[::1]:{server.port}/ok/1"):
            url = server.url(f"to/0/http/{place}", host="public.example")
            with pytest.raises(FetchError) as caught:
                asyncio.run(get(url, First(Names(["127.0.0.1"]))))
            assert caught.value.reason == "refused_address"
        assert not any(path.startswith("ok") for path in server.hits)
        followed = server.url(f"to/0/http/{inner}", host="public.example")
        body = asyncio.run(get(followed, First(Names([])), allow_private=True))
        assert body == png(1)


def test_headers_of_64_kib_are_read() -> None:
    with HostileServer() as server:
        body = asyncio.run(get(server.url("headers/3"), Names([]), allow_private=True))
    assert body == png(3)
