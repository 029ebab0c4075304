"""URLs are sent byte for byte; those of redirects too."""

from __future__ import annotations

import asyncio

import pytest

from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.failure import FetchError
from edge_glass.training.fetch.http import Client
from edge_glass.training.fetch.targets import parse_url, redirected
from hostile_server import HostileServer

SIGNED = "/http%3A%2F%2Fi.org%2Fa%2Cb.jpg?sig=a%2Fb%2bc%3D+d&x={1}|2~'()*!$;@:,"
TARGETS = [
    (f"http://h.org{SIGNED}", SIGNED),
    ("http://h.org", "/"),
    ("http://h.org?x=1", "/?x=1"),
    ("http://h.org/a?", "/a?"),
    ("http://h.org//a//b/", "//a//b/"),
    ("http://h.org/a/../b/./c", "/a/../b/./c"),
    ("http://h.org/%zz%", "/%zz%"),
    ("http://h.org/a?b?c/d#e?f", "/a?b?c/d"),
    ("http://h.org/a#", "/a"),
    ("http://h.org/a b?c d", "/a%20b?c%20d"),
    ("http://h.org/é/\U0001f40d?ß", "/%C3%A9/%F0%9F%90%8D?%C3%9F"),
    (" http://h.org/a\r\n", "/a"),
    ("http://h.org/a\tb\nc", "/abc"),
    ("http://h.org/a\0b", "/a%00b"),
]


@pytest.mark.parametrize(("url", "target"), TARGETS)
def test_the_target_is_what_the_text_has_after_the_host(url: str, target: str) -> None:
    assert parse_url(url).raw_path_qs == target


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("HTTP://H.Org:8080/A", "h.org", 8080),
        ("http://bücher.example/", "xn--bcher-kva.example", 80),
        ("http://\uff11\uff12\uff17.0.0.1/", "127.0.0.1", 80),  # full-width digits
        ("https://h.org./a", "h.org.", 443),
        ("http://a_b.org/", "a_b.org", 80),
        ("http://user:p%40ss@h.org/", "h.org", 80),
        ("http://[::1]:8/x", "::1", 8),
    ],
)
def test_hosts(url: str, host: str, port: int) -> None:
    parsed = parse_url(url)
    assert (parsed.raw_host, parsed.port) == (host, port)


@pytest.mark.parametrize(
    "url",
    ["", "/a", "a.png", "http:///x", "http://h o/", "http://h:99999/", "http://h\\@e/", "//h/x"],
)
def test_no_absolute_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"absolute|host|Port|Invalid"):
        parse_url(url)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        (f"https://i.org{SIGNED}", f"https://i.org{SIGNED}"),
        (f"//i.org{SIGNED}", f"http://i.org{SIGNED}"),
        (SIGNED, f"http://h.org:81{SIGNED}"),
        ("c%2Fd?e=%2f", "http://h.org:81/a/c%2Fd?e=%2f"),
        ("../x", "http://h.org:81/x"),
        ("?y=%2F", "http://h.org:81/a/b?y=%2F"),
        ("/\udcc3\udca9", "http://h.org:81/%C3%A9"),  # the bytes of é, as a header has them
        ("/z#part", "http://h.org:81/z"),
    ],
)
def test_redirects(location: str, url: str) -> None:
    assert str(redirected(parse_url("http://h.org:81/a/b?c"), location)) == url


def test_a_redirect_to_a_different_scheme_is_none() -> None:
    with pytest.raises(ValueError, match="no http or https URL"):
        redirected(parse_url("http://h.org/"), "javascript:alert(1)")


def test_a_server_that_knows_only_one_spelling_gets_it() -> None:
    async def get(url: str) -> None:
        async with Client(FetchConfig(allow_private=True)) as client:
            await client.get(url)

    with HostileServer() as server:
        server.locations = {SIGNED: f"/moved/{SIGNED}", f"/moved/{SIGNED}": "/missing/a%2Cb"}
        with pytest.raises(FetchError, match="http_404"):
            asyncio.run(get(server.url(SIGNED[1:])))
        sent = [head.split(b" ")[1].decode() for head in server.heads]
    assert sent == [SIGNED, f"/moved/{SIGNED}", "/missing/a%2Cb"]
