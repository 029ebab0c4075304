"""A proxy: what it is sent, which names it is not sent, and that its password is never printed."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver
from yarl import URL

from edge_glass.encoders.files import DataError
from edge_glass.training.fetch.addresses import PublicResolver
from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.failure import FetchError
from edge_glass.training.fetch.http import Client
from edge_glass.training.fetch.proxy import Proxy, notice
from fetching import Names
from hostile_server import HostileServer, png

PUBLIC = PublicResolver(Names(["8.8.8.8"]))


class Unknown(AbstractResolver):
    """Resolves nothing, as behind a proxy."""

    async def resolve(self, *_: Any, **__: Any) -> Any:
        raise OSError(1, "no such name")

    async def close(self) -> None:
        pass


async def get(url: str, server: HostileServer, resolver: AbstractResolver, **options: Any) -> bytes:
    proxy = f"http://me:pass%3Aword@127.0.0.1:{server.port}"
    async with Client(FetchConfig(proxy=proxy, **options), resolver) as client:
        return await client.get(url)


@pytest.mark.parametrize("resolver", [PUBLIC, PublicResolver(Unknown())])
def test_the_proxy_gets_the_whole_url_and_the_password(resolver: AbstractResolver) -> None:
    with HostileServer() as server:
        assert asyncio.run(get("http://public.example/ok/1?a%2fb", server, resolver)) == png(1)
    (head,) = server.heads
    assert head.startswith(b"GET http://public.example/ok/1?a%2fb HTTP/1.1\r\n")
    password = base64.b64encode(b"me:pass:word")
    assert b"Proxy-Authorization: Basic " + password in head


def test_https_goes_through_a_tunnel_and_the_password_stays_with_the_proxy() -> None:
    with HostileServer() as server, pytest.raises(FetchError) as caught:
        asyncio.run(get("https://public.example/ok/1", server, PUBLIC))
    assert caught.value.reason == "proxy_http_407"
    assert "word" not in str(caught.value)
    (head,) = server.heads
    assert head.startswith(b"CONNECT public.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " in head
    request, tunnel = Proxy.parse("http://me:word@h").headers(URL("https://public.example/"))
    assert (request, list(tunnel)) == ({}, ["Proxy-Authorization"])


@pytest.mark.parametrize(
    "place",
    ["127.0.0.1", "[::1]", "169.254.169.254", "localhost", "router", "db.internal", "x.local."],
)
def test_the_proxy_is_not_sent_to_local_addresses(place: str) -> None:
    with HostileServer() as server:
        server.locations = {"http://public.example/to": f"http://{place}/ok/1"}
        for url in (f"http://{place}/ok/1", "http://public.example/to"):
            with pytest.raises(FetchError) as caught:
                asyncio.run(get(url, server, PUBLIC))
            assert caught.value.reason == "refused_address"
    assert not server.hits


def test_a_name_that_is_private_here_is_not_sent_to_the_proxy() -> None:
    inside = PublicResolver(Names(["10.0.0.1"]))
    with HostileServer() as server, pytest.raises(FetchError) as caught:
        asyncio.run(get("http://inside.example/ok/1", server, inside))
    assert caught.value.reason == "refused_address"
    assert not server.heads


def test_a_proxy_that_is_not_there_has_its_own_reason() -> None:
    async def request() -> None:
        async with Client(FetchConfig(proxy="http://a:secret@127.0.0.1:9"), PUBLIC) as client:
            await client.get("http://public.example/")

    with pytest.raises(FetchError) as caught:
        asyncio.run(request())
    assert caught.value.reason == "proxy_unreachable"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["ftp://h:1", "socks5://a:secret@h:1", "http://", "http://h:port"])
def test_what_is_no_proxy_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(DataError, match="expected") as caught:
        Proxy.parse(text)
    assert "secret" not in str(caught.value)


def test_notices_name_the_proxy_and_never_the_password() -> None:
    line = notice("https://me:secret@proxy.example:3129", {})
    assert line is not None
    assert "https://proxy.example:3129" in line
    assert "secret" not in line
    line = notice(None, {"HTTPS_PROXY": "http://me:secret@proxy.example:3128"})
    assert line is not None
    assert "HTTPS_PROXY is set, and it is not used" in line
    assert "secret" not in line
    assert notice(None, {"https_proxy": ""}) is None
    assert "secret" not in repr(FetchConfig(proxy="http://me:secret@h"))
