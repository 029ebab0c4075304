"""A server under load: 32 clients, clients that leave, and memory that stays.

python benchmarks/serving.py [--requests 10000] [--vlm models/vlm_qa] [--align models/align]

Starts `edge-glass serve` and sends a fixed mixture of requests: of ten, six embed a text, two embed
an image, one asks a question, and one asks with streaming. Equal requests must get equal bytes.
Every 25th request is sent twice, the first time by a client that leaves at once. It fails if a
request fails, or if the memory (RSS) after the last request is more than 10 % above that after the
first tenth.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLIENTS = 32
DISTINCT = 200  # different requests; the others repeat them
LEAVING = 25
MAX_GROWTH = 1.10
WORDS = ("red", "car", "two", "dogs", "green", "tree", "small", "house", "a", "the", "on", "left")
QUESTIONS = ("How many dogs are there?", "Where is the cat?", "What colour is it?")
JSON = {"Content-Type": "application/json"}
CODE = "from edge_glass.fusion.app.cli import main; main()"


@dataclass
class Server:
    """A server that was started as a process of its own."""

    port: int
    pid: int
    vlm: str
    align: str

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def memory(self, name: str = "VmRSS") -> float:
        """Resident memory in MiB; VmHWM is its peak."""
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024


@contextmanager
def started(vlm: Path, align: Path, *options: str) -> Iterator[Server]:
    """Starts `edge-glass serve` on a free port, and ends it with SIGINT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", CODE, "serve", "--vlm", str(vlm), "--align", str(align)]
    process = subprocess.Popen([*command, "--port", str(port), *options])
    try:
        server = Server(port, process.pid, vlm.resolve().name, align.resolve().name)
        while True:
            assert process.poll() is None, "the server ended"
            try:
                connection = server.connect()
                connection.request("GET", "/health")
                assert connection.getresponse().status == 200
                connection.close()
                break
            except ConnectionRefusedError:
                time.sleep(0.2)
        yield server
    finally:
        process.send_signal(2)
        status = process.wait(timeout=60)
    assert status == 0, f"the server ended with status {status}"


def data_uri(image: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    image.save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def chat_body(server: Server, question: str, url: str, **options: Any) -> dict[str, Any]:
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": question},
    ]
    return {"model": server.vlm, "messages": [{"role": "user", "content": parts}], **options}


def request_of(server: Server, number: int) -> tuple[str, bytes]:
    """Returns path and body of a request; a function of its number."""
    number %= DISTINCT
    draws = np.random.default_rng(number)
    kind = number % 10
    if kind < 6:
        text = " ".join(draws.choice(WORDS, 6))
        return "/v1/embeddings", json.dumps({"model": server.align, "input": text}).encode()
    blocks = draws.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    url = data_uri(Image.fromarray(blocks).resize((160, 120), Image.Resampling.NEAREST))
    if kind < 8:
        body = {"model": server.align, "input": url, "dimensions": None}
        return "/v1/embeddings", json.dumps(body).encode()
    question = QUESTIONS[number // 10 % 3]
    options = {"stream": True} if kind == 9 else {"temperature": 1.0, "seed": number}
    return "/v1/chat/completions", json.dumps(chat_body(server, question, url, **options)).encode()


@dataclass
class Load:
    """What the clients share."""

    server: Server
    total: int
    done: int = 0
    left: int = 0
    faults: list[str] = field(default_factory=list)
    answers: dict[int, bytes] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, client: int) -> None:
        connection = self.server.connect()
        for number in range(client, self.total, CLIENTS):
            path, body = request_of(self.server, number)
            if number % LEAVING == 0:
                self.leave(path, body)
            try:
                connection.request("POST", path, body, JSON)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.fault(f"request {number}: {error!r}")
                connection.close()
                continue
            self.check(number, response.status, content)
        connection.close()

    def leave(self, path: str, body: bytes) -> None:
        """Sends a request and closes the connection."""
        connection = self.server.connect()
        connection.request("POST", path, body, JSON)
        connection.close()
        with self.lock:
            self.left += 1

    def check(self, number: int, status: int, content: bytes) -> None:
        with self.lock:
            expected = self.answers.setdefault(number % DISTINCT, content)
            if status != 200:
                self.faults.append(f"request {number}: status {status}, {content[:200]!r}")
            elif content != expected:
                self.faults.append(f"request {number}: different bytes than before")
            self.done += 1
            if self.done % max(1, self.total // 10) == 0:
                self.memory.append(self.server.memory())
                print(f"{self.done:6} requests, {self.memory[-1]:.0f} MiB", flush=True)

    def fault(self, message: str) -> None:
        with self.lock:
            self.faults.append(message)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--vlm", type=Path, default=Path("models/vlm_qa"))
    parser.add_argument("--align", type=Path, default=Path("models/align"))
    return parser


def main() -> None:
    parser = arguments()
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    with started(options.vlm, options.align) as server:
        load = Load(server, options.requests)
        begin = time.perf_counter()
        threads = [threading.Thread(target=load.run, args=(each,)) for each in range(CLIENTS)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        seconds = time.perf_counter() - begin
        growth = load.memory[-1] / load.memory[0]
        print(
            f"{load.done} requests of {CLIENTS} clients in {seconds:.0f} s "
            f"({load.done / seconds:.0f} per second), {load.left} more by clients that left; "
            f"{len(load.faults)} faults; memory {load.memory[0]:.0f} MiB after the first tenth, "
            f"{load.memory[-1]:.0f} MiB at the end ({growth:.3f})"
        )
    for fault in load.faults[:10]:
        print(fault)
    sys.exit(bool(load.faults) or growth > MAX_GROWTH)


if __name__ == "__main__":
    main()
