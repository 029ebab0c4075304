"""Images by URL: public addresses only, also after a redirect."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("openai")

import openai

from edge_glass.encoders.public_addresses import AddressError
from edge_glass.fusion.serve import remote_image
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.image_input import data_uri_bytes
from edge_glass.fusion.serve.limits import Limits
from edge_glass.fusion.serve.remote_image import fetch_image

paths: list[tuple[str, str]] = []  # that the site was asked for, with the header Host


@pytest.fixture
def site(data_uri: Callable[..., str]) -> Iterator[str]:
    """The URL of a small web server on this machine."""
    image = data_uri_bytes(data_uri("blue"), "test")
    paths.clear()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append((self.path, self.headers["Host"]))
            if self.path == "/slow":  # a header that never ends
                with suppress(OSError):
                    for _ in range(50):
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n"[:1])
                        time.sleep(0.1)
                return
            name = self.path.strip("/").partition("/")[0]
            moved = {
                "file": "file:///etc/passwd",
                "moved": "/image",
                "loop": "/loop",
                "private": "http://localhost:1/",
            }
            self.send_response({"missing": 404}.get(name, 302 if name in moved else 200))
            self.send_header("Location", moved.get(name, ""))
            self.end_headers()
            self.wfile.write(bytes(20_000) if name == "large" else image)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes 127.0.0.1 public; `localhost` stays private by its other name."""

    def check(address: str) -> None:
        if address != "127.0.0.1":
            raise AddressError(f"{address} is not public")

    monkeypatch.setattr(remote_image, "check_public", check)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png",
        "http://localhost/a.png",
        "http://[::1]/a.png",
        "http://2130706433/",  # 127.0.0.1 as one number
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_private_addresses_are_refused(url: str) -> None:
    with pytest.raises(RequestError, match="is not a public address"):
        fetch_image(url, Limits(), "messages")


@pytest.mark.usefixtures("loopback_is_public")
def test_an_image_is_fetched_within_limits(site: str, data_uri: Callable[..., str]) -> None:
    expected = data_uri_bytes(data_uri("blue"), "test")
    limits = Limits(max_body_bytes=10_000)
    assert fetch_image(f"{site}/image", limits, "m") == expected
    assert fetch_image(f"{site}/moved", limits, "m") == expected
    for name, reason in (
        ("file", "scheme 'file' is not http or https"),
        ("loop", "more than 3 redirects"),
        ("missing", "its status is 404"),
        ("large", "it has more than 10000 bytes"),
    ):
        with pytest.raises(RequestError, match=reason):
            fetch_image(f"{site}/{name}", limits, "m")
    for url in ("http://", "http://127.0.0.1:99999/", "http://[/", "http://127.0.0.1:1/"):
        with pytest.raises(RequestError, match="the image can't be requested: "):
            fetch_image(url, limits, "m")


@pytest.mark.usefixtures("loopback_is_public")
def test_a_url_is_requested_as_browsers_do(site: str) -> None:
    fetch_image(
        f"{site.replace('//', '//me:secret@')}/image/a b\u00e9%20.png?q=[1]#end", Limits(), "m"
    )
    assert paths == [("/image/a%20b%C3%A9%20.png?q=%5B1%5D", site.removeprefix("http://"))]


@pytest.mark.usefixtures("loopback_is_public")
def test_a_server_that_sends_slowly_is_given_up(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_image, "TOTAL_SECONDS", 0.4)
    start = time.monotonic()
    with pytest.raises(RequestError, match="it took too long"):
        fetch_image(f"{site}/slow", Limits(), "m")
    assert time.monotonic() - start < 3  # it sends for five seconds


def test_each_redirect_is_checked(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    def check(address: str) -> None:  # the first address is fine, the next is not
        checked.append(address)
        if len(checked) > 1:
            raise AddressError(f"{address} is not public")

    monkeypatch.setattr(remote_image, "check_public", check)
    with pytest.raises(RequestError, match="is not public"):
        fetch_image(f"{site}/private", Limits(), "m")
    assert len(checked) == 2


@pytest.mark.usefixtures("loopback_is_public")
def test_the_server_fetches_only_if_it_is_allowed(
    served: Any,
    start: Callable[..., Any],
    site: str,
    asked: Callable[..., Any],
) -> None:
    def answer(server: Any, **image: str) -> str:
        found = server.client().chat.completions.create(
            model="model", messages=asked("where is the cat?", **image)
        )
        return str(found.choices[0].message.content)

    large = {"type": "image_url", "image_url": {"url": f"{site}/large"}}  # 20,000 bytes each
    with start(served, Limits(max_body_bytes=50_000), allow_remote=True) as server:
        for number, message in ((2, "is not a JPEG"), (3, "more than 50000 bytes together")):
            with pytest.raises(openai.APIStatusError, match=message):
                server.client().embeddings.create(model="model", input=[large] * number)
    with start(served, allow_remote=True) as server:
        assert answer(server, image=f"{site}/image") == answer(server, colour="blue")
        with pytest.raises(openai.BadRequestError, match="its status is 404"):
            answer(server, image=f"{site}/missing")
