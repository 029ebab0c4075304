"""`edge-glass fetch` of 10,000 small pictures against a bare client loop of the same concurrency.

Run:    python benchmarks/fetch.py
Needs:  edge-glass-training[fetch]

A server in a process of its own answers from memory on loopback, after `--delay` milliseconds: a
picture on the web is 50 and more away. The bare loop asks with aiohttp and drops what it gets. Ours
does that and all of its work: plan, decode, hash, packs, journal, shards, manifest. They take
turns, each in a process of its own, and the medians count. Without a delay both are bound by the
CPU, which is no network, and shows what our work costs. Then the peak memory of ours (with its
worker processes) at 2,500 and at 10,000 pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

# Heavy imports are in the functions: worker processes import this file anew, as they would import
# the few lines of the command `edge-glass`.

TARGET = 0.8
BODIES = 256
PROCESSES = 1


def bodies() -> list[bytes]:
    """JPEG pictures of 64 x 64, some 3 kB each."""
    from PIL import Image

    made = []
    for number in range(BODIES):
        noise = Image.frombytes("RGB", (16, 16), random.Random(number).randbytes(768))
        out = io.BytesIO()
        noise.resize((64, 64), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        made.append(out.getvalue())
    return made


class Answer(asyncio.Protocol):
    """Answers /NUMBER with a picture; nothing else, as fast as Python can."""

    responses: ClassVar[list[bytes]] = []
    delay: ClassVar[float] = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            number = int(self.buffer[5 : self.buffer.index(b" ", 5)])  # GET /NUMBER HTTP/1.1
            self.buffer = self.buffer[end + 4 :]
            response = self.responses[number % BODIES]
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.transport.write, response)
            else:
                self.transport.write(response)


async def serve(delay: float) -> None:
    Answer.delay = delay / 1000
    Answer.responses = [
        b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
        for body in bodies()
    ]
    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def bare(urls: list[str], concurrency: int) -> None:
    import aiohttp

    following = iter(urls)

    async def work(session: aiohttp.ClientSession) -> None:
        for url in following:
            async with session.get(url) as response:
                assert response.status == 200
                await response.read()

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(work(session) for _ in range(concurrency)))


def ours(urls: list[str], concurrency: int, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from edge_glass.training.fetch.config import FetchConfig
    from edge_glass.training.fetch.session import fetch

    source = folder / "in.parquet"
    pq.write_table(pa.table({"image_url": urls}), source)
    config = FetchConfig(
        concurrency=concurrency, per_host=concurrency, allow_private=True, processes=PROCESSES
    )
    summary = fetch(source, folder / "out", config)
    assert summary.success == 1, summary


def measure(way: str, port: int, pictures: int, concurrency: int) -> None:
    """Run one way once, in this process; print seconds and peak memory as JSON."""
    import edge_glass.training.fetch.session  # noqa: F401 - imports are not what is measured

    urls = [f"http://127.0.0.1:{port}/{number}" for number in range(pictures)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        if way == "bare":
            asyncio.run(bare(urls, concurrency))
        else:
            ours(urls, concurrency, Path(folder))
        seconds = time.perf_counter() - start
    peaks = [
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    print(json.dumps({"seconds": seconds, "memory": sum(peaks)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--delay", type=float, default=50.0, help="of the server, milliseconds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=["serve", "bare", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child == "serve":
        asyncio.run(serve(arguments.delay))
        return
    if arguments.child:
        measure(arguments.child, arguments.port, arguments.pictures, arguments.concurrency)
        return

    command = [sys.executable, __file__, "--child"]
    serving = [*command, "serve", "--delay", str(arguments.delay)]
    with subprocess.Popen(serving, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()

        def child(way: str, pictures: int) -> dict[str, float]:
            options = ["--port", port, "--pictures", str(pictures)]
            options += ["--concurrency", str(arguments.concurrency)]
            done = subprocess.run(
                [*command, way, *options], stdout=subprocess.PIPE, text=True, check=True
            )
            found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
            return found

        try:
            runs: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
            for _ in range(arguments.repeats):
                for way, found in runs.items():
                    found.append(child(way, arguments.pictures))
            quarter = child("ours", arguments.pictures // 4)
        finally:
            server.terminate()
    seconds = {
        way: statistics.median(run["seconds"] for run in found) for way, found in runs.items()
    }
    rates = {way: arguments.pictures / each for way, each in seconds.items()}
    ratio = rates["ours"] / rates["bare"]
    print(
        f"{arguments.pictures} pictures, {arguments.concurrency} at a time, answered after "
        f"{arguments.delay:g} ms, {PROCESSES} checking process"
    )
    for way, rate in rates.items():
        spread = ", ".join(f"{run['seconds']:.2f}" for run in runs[way])
        print(f"{way:5} {rate:7.0f} pictures/s ({spread} s)")
    print(f"ours reaches {ratio:.0%} of the bare loop's rate (target: {TARGET:.0%})")
    full = max(run["memory"] for run in runs["ours"])
    print(
        f"peak memory of ours: {quarter['memory']:.0f} MiB at {arguments.pictures // 4}, "
        f"{full:.0f} MiB at {arguments.pictures} pictures"
    )


if __name__ == "__main__":
    main()
