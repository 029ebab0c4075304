"""Pictures as bytes: encoding, and the ways in which a row of a crawled data set is broken."""

from __future__ import annotations

import io

from PIL import Image

QUALITY = 90
SCENE_QUALITY = 75
HTML = (
    b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
    b"<body><h1>Not Found</h1><p>The requested picture (%d bytes) is gone.</p></body></html>\n"
)
START_OF_SCAN = b"\xff\xda"  # in a JPEG file: here the header ends and the pixels begin
BANNER = (640, 8)  # pixels: a picture of absurd aspect


def on_white(picture: Image.Image) -> Image.Image:
    """Lay an RGBA picture on white."""
    canvas = Image.new("RGB", picture.size, "white")
    canvas.paste(picture, mask=picture.getchannel("A"))
    return canvas


def encode(picture: Image.Image, quality: int) -> bytes:
    """WebP bytes of an RGB picture, with loss."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def encode_smaller(picture: Image.Image, quality: int) -> bytes:
    """WebP bytes of an RGB picture, without loss where that is no larger: often so for flat art."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return min(buffer.getvalue(), encode(picture, quality), key=len)


def truncated(data: bytes) -> bytes:
    """A download that stopped half way: the header opens, the pixels end early.

    As JPEG, PixMo's own format, whose decoders notice only when they reach the end.
    """
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(buffer, "JPEG", quality=85)
    jpeg = buffer.getvalue()
    scan = jpeg.index(START_OF_SCAN)
    return jpeg[: (scan + len(jpeg)) // 2]


def web_page(data: bytes) -> bytes:
    """What a server sends in place of a picture that is gone."""
    return HTML.replace(b"%d", str(len(data)).encode())


def banner(data: bytes) -> bytes:
    """A picture squeezed to 80 : 1."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    return encode(picture.resize(BANNER, Image.Resampling.BOX), QUALITY)
