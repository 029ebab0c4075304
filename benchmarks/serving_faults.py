"""A server under malformed and hostile requests: a reason for each, and bounded costs.

python benchmarks/serving_faults.py [--malformed 1000] [--vlm models/vlm_qa] [--align models/align]

Sends malformed bodies, images and headers, one third each, all functions of their number. Each must
get a status of 400 to 499 and a message; a damaged image that still decodes may get 200. Then it
sends hostile images, and prints the time of each and the growth of the server's peak memory. It
fails on a status of 500, a missing reason, a path of the server in a message, an image that takes
more than 10 seconds, or memory beyond that of the largest allowed image.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image
from serving import JSON, Server, arguments, chat_body, data_uri, started

MAX_SECONDS = 10.0
MEGAPIXELS = 50
# RGB, twice at 3 bytes per pixel and once at Pillow's 4, and room for the file
MAX_MEMORY_MB = MEGAPIXELS * (2 * 3 + 4) + 100
JUNK: list[Any] = [[], {}, [[]], "\u0000", True, [None], {"a": 1}, "x" * 30_000, [1, 2]]
SECRETS = (b"/site-packages/", b"/src/", b"Traceback", b".py")


def post(server: Server, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = server.connect()
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def malformed_body(server: Server, number: int) -> tuple[str, bytes]:
    """Returns a path and a body that can't be valid."""
    draws = random.Random(number)
    body = chat_body(server, "how many?", data_uri(Image.new("RGB", (8, 8))), temperature=0.5)
    text = json.dumps(body).encode()
    path = "/v1/chat/completions"
    kinds: list[Callable[[], bytes]] = [
        lambda: text[: draws.randrange(len(text))],
        lambda: draws.randbytes(draws.randrange(1, 400)),
        lambda: b"[" * draws.randrange(1, 100_000),
        lambda: b'{"a":' * draws.randrange(1, 100_000),
        lambda: text.replace(b"how many?", b"\xff\xfe"),
        lambda: text.replace(b"how many?", b"\\ud800"),
        lambda: text.replace(b"0.5", draws.choice([b"NaN", b"1e999", b"-Infinity", b"9" * 5000])),
        lambda: json.dumps(body | {draws.choice(list(body)): draws.choice(JUNK)}).encode(),
        lambda: json.dumps(body | {draws.choice(["seed", "stop"]): [[]]}).encode(),
        lambda: json.dumps({key: body[key] for key in list(body)[1:]}).encode(),
        lambda: json.dumps(
            body | {"messages": body["messages"] * draws.randrange(2, 500)}
        ).encode(),
        lambda: json.dumps(draws.choice(JUNK)).encode(),
    ]
    content = kinds[number % len(kinds)]()
    if number % 5 == 0:
        values = {
            "model": server.align,
            "input": draws.choice([*JUNK[:3], None, 3, [[1], "a"], ""]),
        }
        return "/v1/embeddings", json.dumps(values).encode()
    return path, content


def damaged_image(server: Server, number: int) -> tuple[str, bytes]:
    """Returns a request about an image that is cut, changed, or something else."""
    draws = random.Random(number)
    file = io.BytesIO()
    kind = draws.choice(["PNG", "JPEG", "WEBP", "GIF", "AVIF"])
    Image.effect_noise((40, 30), 80).convert("RGB").save(file, kind)
    data = bytearray(file.getvalue())
    if number % 4 == 0:
        del data[draws.randrange(1, len(data)) :]
    elif number % 4 == 1:
        for _ in range(draws.randrange(1, 20)):
            data[draws.randrange(len(data))] = draws.randrange(256)
    elif number % 4 == 2:
        data = bytearray(bytes(data[:12]) + draws.randbytes(200))
    else:
        data = bytearray(
            draws.choice([b"<svg/>", b"%PDF-1.7", b"MZ", b"\x00\x00\x01\x00", b"II*\x00"])
        )
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    if draws.random() < 0.1:
        url = url[: -draws.randrange(1, 8)] + "*"
    return "/v1/chat/completions", json.dumps(chat_body(server, "how many?", url)).encode()


def malformed_header(number: int) -> bytes:
    """Returns the bytes of a request whose first lines are wrong."""
    draws = random.Random(number)
    start = b"POST /v1/embeddings HTTP/1.1\r\n"
    host, json_type = b"Host: localhost\r\n", b"Content-Type: application/json\r\n"
    wrong = [
        start + host + json_type + b"Content-Length: -5\r\n\r\n",
        start + host + json_type + b"Content-Length: many\r\n\r\n",
        start + host + json_type + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        start + host + json_type + b"Transfer-Encoding: gzip\r\n\r\n",
        start + host + json_type + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        start + host + b"Content-Type: text/html\r\nContent-Length: 2\r\n\r\n{}",
        start + host + json_type + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
        start + host + json_type + b"Content-Length: 99999999999\r\n\r\n",
        start + json_type + b"Content-Length: 2\r\n\r\n{}",
        start + b"Host: evil.example\r\n" + json_type + b"Content-Length: 2\r\n\r\n{}",
        start + host + json_type + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        start + host + b"X\x00: y\r\n\r\n",
        start + host + b"no colon\r\n\r\n",
        start + host + b"Origin: \xff\xfe\r\n\r\n",
        b"POST /v1/emb\xffeddings HTTP/1.1\r\n" + host + b"\r\n",
        b"POST /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"BREW /v1/embeddings HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /v1/models/%2e%2e%2f%2e%2e HTTP/1.1\r\n" + host + b"\r\n",
        b"POST /v1/embeddings HTTP/9.9\r\n" + host + b"\r\n",
        draws.randbytes(60) + b"\r\n\r\n",
    ]
    return wrong[number % len(wrong)]


def send_raw(server: Server, data: bytes) -> tuple[int, bytes]:
    """Sends bytes and reads one response; status 0 if there is none."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as stream:
        try:
            stream.sendall(data)
            response = http.client.HTTPResponse(stream)
            response.begin()
            return response.status, response.read()
        except (ConnectionError, http.client.HTTPException) as error:
            return 0, repr(error).encode()


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG of one bit per pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def hostile_images() -> dict[str, bytes]:
    """Images that are small to send, and large or slow to decode."""

    def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    def zeros(width: int, height: int) -> bytes:
        return png(width, height, zlib.compress(bytes((width + 7) // 8 + 1) * height, 9))

    grey = Image.new("L", (3000, 3000), 128)
    jpeg = saved(grey, "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    gif = saved(Image.new("P", (10, 10)), "GIF")
    scans = saved(Image.linear_gradient("L").resize((1000, 1000)), "JPEG", progressive=True)
    last = scans.rindex(b"\xff\xda")
    return {
        "the largest allowed PNG": zeros(10_000, MEGAPIXELS * 100),
        "the largest allowed JPEG": saved(Image.new("RGB", (8000, 6250), "red"), "JPEG"),
        "a PNG of 100 megapixels": zeros(10_000, 10_000),
        "a PNG of 2,500 megapixels in its header": png(50_000, 50_000, b""),
        "a JPEG of 4,000 megapixels in its header": jpeg[:at] + b"\xf9\xff" * 2 + jpeg[at + 4 :],
        "a JPEG with 500 more scans": scans[:last] + scans[last:-2] * 500 + b"\xff\xd9",
        "a GIF of 4,000 megapixels": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "an ICO with a PNG of 100 megapixels": b"\0\0\1\0\1\0" + zeros(10_000, 10_000),
        "a PNG with 9 MB of zeros at its end": zeros(10, 10) + bytes(7_000_000),
    }  # fmt: skip


def main() -> None:
    parser = arguments()
    parser.add_argument("--malformed", type=int, default=1000)
    options = parser.parse_args()
    faults: list[str] = []
    counts: dict[int, int] = {}
    with started(options.vlm, options.align) as server:
        for number in range(options.malformed):
            if number % 3 == 0:
                status, content = post(server, *malformed_body(server, number // 3), JSON)
            elif number % 3 == 1:
                status, content = post(server, *damaged_image(server, number // 3), JSON)
            else:
                status, content = send_raw(server, malformed_header(number // 3))
            counts[status] = counts.get(status, 0) + 1
            allowed = 400 <= status < 500 or (status == 200 and number % 3 == 1)
            secrets = (*SECRETS, str(options.vlm.resolve().parent).encode())
            if not allowed or not content.strip() or any(each in content for each in secrets):
                faults.append(f"request {number}: status {status}, {content[:200]!r}")
        print(f"{options.malformed} malformed requests: {dict(sorted(counts.items()))}", flush=True)
        before = server.memory("VmHWM")
        for name, data in hostile_images().items():
            url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
            start = time.perf_counter()
            body = json.dumps(chat_body(server, "how many?", url)).encode()
            status, content = post(server, "/v1/chat/completions", body, JSON)
            seconds, memory = time.perf_counter() - start, server.memory("VmHWM") - before
            print(f"{name}: status {status}, {seconds:.2f} s, peak memory +{memory:.0f} MiB")
            if status not in (200, 400, 413) or seconds > MAX_SECONDS or memory > MAX_MEMORY_MB:
                faults.append(f"{name}: {content[:200]!r}")
    print("\n".join(faults[:20]) or "no faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
