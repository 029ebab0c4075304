"""Who may send requests, and what a request may cost."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

import openai

from edge_glass.fusion.serve.limits import Limits
from edge_glass.fusion.serve.server import find_token

TOKEN = "0123456789abcdef"
JSON = {"Content-Type": "application/json"}


def send(
    server: Any, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Sends a request; returns its status and its JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content)


def test_another_address_needs_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_GLASS_TOKEN", raising=False)
    for host in ("127.0.0.1", "::1", "localhost", "127.0.0.2"):
        assert find_token(None, host) is None
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        with pytest.raises(ValueError, match=f"--host {host} is reached from other machines"):
            find_token(None, host)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert find_token(file, "0.0.0.0") == TOKEN
    monkeypatch.setenv("EDGE_GLASS_TOKEN", TOKEN * 2)
    assert find_token(None, "127.0.0.1") == TOKEN * 2
    file.write_text("short")
    with pytest.raises(ValueError, match="token of 5 characters, expected at least 16"):
        find_token(file, "127.0.0.1")


def test_a_token_is_required_for_all_but_health(
    served: Any, start: Callable[..., Any], asked: Callable[..., Any]
) -> None:
    with start(served, token=TOKEN) as server:
        assert server.client(TOKEN).models.list().data[0].id == "model"
        for token in ("none", TOKEN + "0", TOKEN[:-1]):
            with pytest.raises(openai.AuthenticationError, match="the token is missing or wrong"):
                server.client(token).models.list()
        paths = ("/v1/models", "/metrics", "/v1/chat/completions", "/v1/embeddings", "/nothing")
        for path in paths:
            assert send(server, "GET", path)[0] == 401
        for path in ("//health", "/health/", "/health%2f", "/%2fhealth", "/page/../metrics"):
            assert send(server, "GET", path)[0] == 401
        for sent in (f"bearer{TOKEN}", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN},", "Bearer \xe9"):
            assert send(server, "GET", "/metrics", headers={"Authorization": sent})[0] == 401
        assert send(server, "GET", "/health")[0] == 200
        # a name of the network is fine if there is a token
        assert send(server, "GET", "/health", headers={"Host": "box.lan"})[0] == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "wrong_host"),
        ({"Host": "127.0.0.1.evil.example:80"}, "wrong_host"),
        ({"Host": "["}, "wrong_host"),
        ({"Origin": "http://evil.example"}, "wrong_origin"),
        ({"Origin": "null"}, "wrong_origin"),
    ],
)
def test_web_pages_do_not_reach_a_server_without_token(
    server: Any, headers: dict[str, str], code: str
) -> None:
    status, content = send(server, "GET", "/v1/models", headers=headers)
    assert (status, content["error"]["code"]) == (403, code)


def test_a_large_body_is_refused_with_or_without_its_length(
    served: Any, start: Callable[..., Any]
) -> None:
    with start(served, Limits(max_body_bytes=1000)) as server:
        for body in (b"x" * 3000, iter([b"x" * 600] * 5)):
            status, content = send(server, "POST", "/v1/chat/completions", body, JSON)
            assert (status, content["error"]["code"]) == (413, "body_too_large")
            assert "more than 1000 bytes (max_body_bytes)" in content["error"]["message"]


@pytest.mark.parametrize(
    ("path", "begin", "end"),
    [
        ("/v1/chat/completions", b'{"messages":[', b"0]}"),
        ("/v1/chat/completions", b'{"messages":[],"metadata":[', b"0]}"),
        ("/v1/embeddings", b'{"input":[', b"0]}"),
        ("/page/api/search", b'{"text":[', b"0]}"),
    ],
)
def test_a_body_of_millions_of_values_is_refused_before_it_is_read(
    server: Any, path: str, begin: bytes, end: bytes
) -> None:
    for value, number in ((b"0,", 4_000_000), (b"[],", 3_000_000), (b"{},", 3_000_000)):
        status, content = send(server, "POST", path, begin + value * number + end, JSON)
        assert (status, content["error"]["code"]) == (400, "too_many_values")


def test_a_large_image_is_refused_before_it_is_decoded(
    served: Any, start: Callable[..., Any], asked: Callable[..., Any], data_uri: Callable[..., str]
) -> None:
    fine, large = (data_uri("red", (width, 100), "JPEG") for width in (100, 101))
    with start(served, Limits(max_pixels=10_000)) as server:
        client = server.client()
        client.chat.completions.create(model="model", messages=asked("dogs?", image=fine))
        with pytest.raises(openai.BadRequestError, match=r"more than 10000 pixels \(max_pixels\)"):
            client.chat.completions.create(model="model", messages=asked("dogs?", image=large))


def test_beyond_the_queue_a_request_is_refused_at_once(
    served: Any, start: Callable[..., Any], asked: Callable[..., Any]
) -> None:
    with start(served, Limits(max_queue=2)) as server:
        waiting = []
        for _ in range(2):  # two clients that do not send their bodies
            waiting.append(socket.create_connection(("127.0.0.1", server.port)))
            waiting[-1].sendall(
                b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
                b"Content-Type: application/json\r\n\r\n"
            )
        deadline = time.monotonic() + 10
        error: openai.RateLimitError | None = None
        client = server.client()
        while error is None and time.monotonic() < deadline:
            try:
                client.embeddings.create(model="model", input="a")
            except openai.RateLimitError as found:
                error = found
        assert error is not None
        assert "2 requests are waiting, which is the limit (max_queue)" in error.message
        assert error.response.headers["Retry-After"] == "1"
        assert send(server, "GET", "/health")[0] == 200  # not through the queue
        for each in waiting:
            each.close()
        while True:  # the places are free again
            try:
                assert client.embeddings.create(model="model", input="a").data
                break
            except openai.RateLimitError:
                assert time.monotonic() < deadline


def test_a_body_must_arrive_in_time(served: Any, start: Callable[..., Any]) -> None:
    with start(served, Limits(body_seconds=1)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.putrequest("POST", "/v1/embeddings")
        connection.putheader("Content-Length", "9")
        connection.putheader("Content-Type", "application/json")
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 408
        assert "did not arrive within 1 seconds" in response.read().decode()
        connection.close()


def test_a_client_that_leaves_frees_its_place(
    served: Any, start: Callable[..., Any], asked: Callable[..., Any]
) -> None:
    body = json.dumps(
        {"model": "model", "messages": asked("dogs?"), "max_tokens": 50, "stream": True}
    )
    with start(served, Limits(max_queue=4)) as server:
        for _ in range(12):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.request("POST", "/v1/chat/completions", body, JSON)
            connection.close()
            time.sleep(0.05)
        deadline = time.monotonic() + 30
        while queue_length(server) > 0:
            assert time.monotonic() < deadline
        assert server.client().embeddings.create(model="model", input="a").data


def queue_length(server: Any) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r"^edge_glass_queue (\S+)$", text, re.M)
    assert found is not None
    return float(found[1])


def test_running_requests_are_finished_when_the_server_stops(
    served: Any, start: Callable[..., Any], asked: Callable[..., Any]
) -> None:
    answers: list[str | None] = []

    def ask(server: Any) -> None:
        found = server.client().chat.completions.create(
            model="model", messages=asked("dogs?"), max_tokens=40
        )
        answers.append(found.choices[0].message.content)

    with start(served) as server:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(4)]
        for each in threads:
            each.start()
        deadline = time.monotonic() + 30
        while queue_length(server) + len(answers) < 4:
            assert time.monotonic() < deadline
    for each in threads:
        each.join()
    assert len(answers) == 4
    assert len(set(answers)) == 1
