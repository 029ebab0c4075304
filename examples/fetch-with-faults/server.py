"""The sample's pictures on loopback, behind the faults of a bad network; prints the port.

Run by `show.py`. Faults are drawn by (picture, attempt), so that every run has the same.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

# of a hundred answers
RESET, TRUNCATED, UNAVAILABLE, BUSY, HTML = 5, 5, 5, 2, 1
DEAD_EVERY = 50  # pictures that are gone for good
DELAY = 0.01


class Pictures:
    """Serves /NUMBER, the number being the rank of the picture in the sample."""

    def __init__(self, sample: Path) -> None:
        table = pq.read_table(sample, columns=["image"])
        images = table.column("image").to_pylist()
        self._bodies = list(dict.fromkeys((image or {}).get("bytes") or b"" for image in images))
        self._attempts: Counter[int] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection."""
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client was killed
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        number = int(head.split(b" ")[1].strip(b"/"))
        await asyncio.sleep(DELAY)
        if number % DEAD_EVERY == 0:
            return self._send(writer, 404, b"gone")
        self._attempts[number] += 1
        body = self._bodies[number]
        drawn = random.Random(f"{number}:{self._attempts[number]}").randrange(100)
        if (drawn := drawn - RESET) < 0:
            writer.transport.abort()
            return False
        if (drawn := drawn - TRUNCATED) < 0:
            self._send(writer, 200, body[: len(body) // 2], length=len(body))
            return False
        if (drawn := drawn - UNAVAILABLE) < 0:
            return self._send(writer, 503, b"")
        if (drawn := drawn - BUSY) < 0:
            return self._send(writer, 429, b"", "Retry-After: 315360000\r\n")  # ten years
        if (drawn := drawn - HTML) < 0 and self._attempts[number] == 1:
            return self._send(writer, 200, b"<!doctype html><p>Please log in</p>")
        return self._send(writer, 200, body)

    @staticmethod
    def _send(
        writer: asyncio.StreamWriter,
        status: int,
        body: bytes,
        headers: str = "",
        *,
        length: int | None = None,
    ) -> bool:
        size = len(body) if length is None else length
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        return True


async def main() -> None:
    pictures = Pictures(Path(sys.argv[1]))
    server = await asyncio.start_server(pictures.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
