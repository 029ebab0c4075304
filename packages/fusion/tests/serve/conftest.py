"""A real server in a thread, with small real models."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("openai")

import uvicorn
from openai import OpenAI
from PIL import Image

from edge_glass.fusion.serve.app import create_app
from edge_glass.fusion.serve.limits import Limits
from edge_glass.fusion.serve.served import Served, load_served


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    port: int
    served: Served
    clients: dict[str, OpenAI] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, token: str = "none") -> OpenAI:
        if token not in self.clients:
            url = f"{self.url}/v1"
            self.clients[token] = OpenAI(base_url=url, api_key=token, max_retries=0)
        return self.clients[token]


@contextmanager
def running(served: Served, limits: Limits | None = None, **options: Any) -> Iterator[Running]:
    """Runs a server in a thread until the block ends."""
    app = create_app(served, limits, **options)
    config = uvicorn.Config(app, port=0, http="h11", ws="none", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        each = Running(server.servers[0].sockets[0].getsockname()[1], served)
        yield each
    finally:
        server.should_exit = True
        thread.join()
    for client in each.clients.values():
        client.close()


@pytest.fixture(scope="session")
def served(vlm_folder: Path, dual_folder: Path) -> Served:
    """A vision-language model named `model` and a dual encoder, also named `model`."""
    return load_served(vlm=vlm_folder, align=dual_folder)


@pytest.fixture(scope="session")
def server(served: Served) -> Iterator[Running]:
    """One server with the default limits."""
    with running(served) as each:
        yield each


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """Starts a server with other limits or options: `with start(served, limits) as server`."""
    return running


@pytest.fixture(scope="session")
def data_uri() -> Callable[..., str]:
    """Returns an image of one colour as a data URI."""

    def build(colour: str = "red", size: tuple[int, int] = (40, 30), kind: str = "PNG") -> str:
        file = io.BytesIO()
        Image.new("RGB", size, colour).save(file, kind)
        return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"

    return build


@pytest.fixture(scope="session")
def asked(data_uri: Callable[..., str]) -> Callable[..., list[dict[str, Any]]]:
    """Returns the messages of a conversation about an image."""

    def build(*texts: str, image: str | None = None, colour: str = "red") -> list[dict[str, Any]]:
        url = image or data_uri(colour)
        first = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": texts[0]},
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": first}]
        for number, text in enumerate(texts[1:]):
            messages.append({"role": ("assistant", "user")[number % 2], "content": text})
        return messages

    return build
