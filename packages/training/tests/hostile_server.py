"""An image server on loopback with every fault that a network has, in its own thread."""

from __future__ import annotations

import asyncio
import gzip
import io
import random
import struct
import threading
import zlib
from collections import Counter
from types import TracebackType
from urllib.parse import unquote, urlsplit

from PIL import Image

YEARS = 10 * 365 * 24 * 3600
GZIP_BOMB = gzip.compress(bytes(16 * 2**20), compresslevel=1)


def png(number: int, size: tuple[int, int] = (24, 20)) -> bytes:
    """Returns a small image, a different one for each number."""
    pixels = random.Random(number).randbytes(size[0] * size[1] * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(out, "PNG")
    return out.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """Returns a PNG of a few hundred bytes whose header has 3,600 megapixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


class HostileServer:
    """Behaves as the first part of the path names; the second part is the number of the image.

    It is `hosts` many hosts: 127.0.0.1, 127.0.0.2 and so on, with one port.

    Attributes:
        hits: number of requests per path.
        max_hits: after so many requests in all it answers none until this is raised.
        max_active: the largest number of parallel requests so far.
        heads: all requests as they came, without their last line end.
        locations: redirects by request target.
    """

    def __init__(self, *, reset_share: float = 0.0, delay: float = 0.0, hosts: int = 1) -> None:
        self.hits: Counter[str] = Counter()
        self.max_hits: int | None = None
        self.max_active = 0
        self.heads: list[bytes] = []
        self.locations: dict[str, str] = {}
        self._active = 0
        self._reset_share = reset_share
        self._delay = delay
        self._hosts = hosts
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> HostileServer:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        # the same server as other hosts
        others = [f"127.0.0.{number}" for number in range(2, 2 + self._hosts - 1)]
        more = [await asyncio.start_server(self._serve, host, self.port) for host in others]
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready.set()
        await self._stop.wait()
        for listener in (server, *more):
            listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; returns False to close the connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.strip())
        target = head.split(b" ")[1].decode("latin-1")
        if target in self.locations:
            return await self._send(writer, 302, b"", {"Location": self.locations[target]})
        if head.startswith(b"CONNECT"):
            return await self._send(writer, 407, b"")
        path = unquote(urlsplit(head.split(b" ")[1].decode()).path.strip("/"))
        kind, _, rest = path.partition("/")
        number = int(rest.split("/")[0] or 0) if rest[:1].isdigit() else 0
        self.hits[path] += 1
        self._active += 1
        self.max_active = max(self.max_active, self._active)
        try:
            await asyncio.sleep(self._delay)
            while self.max_hits is not None and self.hits.total() > self.max_hits:
                await asyncio.sleep(0.01)
            return await self._behave(kind, number, path, writer)
        finally:
            self._active -= 1

    async def _behave(
        self, kind: str, number: int, path: str, writer: asyncio.StreamWriter
    ) -> bool:
        body = png(number)
        attempt = self.hits[path]
        if kind == "ok":
            if random.Random(f"{path}:{attempt}").random() < self._reset_share:
                writer.transport.abort()
                return False
            return await self._send(writer, 200, body)
        if kind in ("gone", "missing"):
            return await self._send(writer, 410 if kind == "gone" else 404, b"no")
        if kind == "forbidden":
            return await self._send(writer, 403, b"no")
        if kind == "html":
            return await self._send(writer, 200, b"<!doctype html><p>Please log in</p>")
        if kind == "truncated":  # less than the Content-Length
            writer.write(_head(200, {"Content-Length": str(len(body))}) + body[: len(body) // 2])
            await writer.drain()
            return False
        if kind == "half":  # the Content-Length is right, the image is cut
            return await self._send(writer, 200, body[: len(body) // 2])
        if kind == "short-length":  # more than the Content-Length
            writer.write(_head(200, {"Content-Length": str(len(body) // 2)}) + body)
            await writer.drain()
            return False
        if kind == "no-length":
            writer.write(_head(200, {"Connection": "close"}) + body)
            await writer.drain()
            return False
        if kind == "drip":
            writer.write(_head(200, {"Content-Length": "100000"}))
            for _ in range(2000):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
            return False
        if kind == "silent":
            await asyncio.sleep(60)
            return False
        if kind == "huge":
            writer.write(_head(200, {"Connection": "close"}))
            for _ in range(4096):
                writer.write(bytes(65536))
                await writer.drain()
            return False
        if kind == "huge-length":
            return await self._send(writer, 200, b"", {"Content-Length": str(10**11)})
        if kind == "gzip-bomb":
            return await self._send(writer, 200, GZIP_BOMB, {"Content-Encoding": "gzip"})
        if kind == "bomb":
            return await self._send(writer, 200, bomb())
        if kind == "busy":  # 429 once, to be retried in ten years
            if attempt == 1:
                return await self._send(writer, 429, b"", {"Retry-After": str(YEARS)})
            return await self._send(writer, 200, body)
        if kind == "unavailable":  # 503 twice
            if attempt <= 2:
                return await self._send(writer, 503, b"")
            return await self._send(writer, 200, body)
        if kind == "down":
            return await self._send(writer, 500, b"")
        if kind == "loop":
            return await self._send(writer, 302, b"", {"Location": f"/{path}"})
        if kind == "moved":
            return await self._send(writer, 301, b"", {"Location": f"/ok/{number}"})
        if kind == "nowhere":
            return await self._send(writer, 302, b"")
        if kind == "to":  # /to/0/SCHEME/REST: a redirect anywhere
            _, _, scheme, place = path.split("/", 3)
            return await self._send(writer, 302, b"", {"Location": f"{scheme}://{place}"})
        if kind == "card":  # one image for any number
            return await self._send(writer, 200, png(0))
        if kind == "headers":  # one long header, and many
            more = {f"X-{each}": "y" for each in range(200)}
            return await self._send(writer, 200, body, {"Set-Cookie": "x" * 65_000, **more})
        if kind == "garbage":
            writer.write(b"\x00\x01 this is not HTTP\r\n\r\n")
            await writer.drain()
            return False
        raise AssertionError(path)

    @staticmethod
    async def _send(
        writer: asyncio.StreamWriter,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
    ) -> bool:
        writer.write(_head(status, {"Content-Length": str(len(body))} | (headers or {})) + body)
        await writer.drain()
        return True


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
