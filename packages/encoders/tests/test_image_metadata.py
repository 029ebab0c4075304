"""Odd metadata does not matter, and the orientation counts."""

from __future__ import annotations

import random
import struct

import pytest
from PIL import Image, PngImagePlugin

from edge_glass.encoders.images import decode_image, to_rgb
from image_samples import NOISE, saved, turned


def exif_block(order: str, *entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of raw entries: tag, type, count and the 4 bytes of the value or its place."""
    block = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(entries))
    for tag, kind, count, value in sorted(entries):
        block += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    return block + bytes(4)


def with_exif(kind: str, block: bytes) -> bytes:
    exif = b"Exif\0\0" + block
    if kind != "JPEG":
        return saved(NOISE, kind, exif=exif, lossless=True)
    body = saved(NOISE, "JPEG")
    return body[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + body[2:]


TAGS = (0x10F, 0x110, 0x11A, 0x11B, 0x128, 0x131, 0x14A, 0x213, 0x8769, 0x8825, 0xA005, 0x927C)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_tags_do_not_matter_and_the_orientation_counts(kind: str) -> None:
    upright = to_rgb(decode_image(saved(NOISE, kind, lossless=True)))
    expected = upright.transpose(Image.Transpose.ROTATE_270).tobytes()
    draw = random.Random(0)
    for _ in range(300):
        order = draw.choice("<>")
        odd = [
            (tag, draw.randrange(18), draw.choice([0, 1, 1, 4, 100, 2**31]), draw.randbytes(4))
            for tag in draw.sample(TAGS, draw.randint(1, 4))
        ]
        six = (0x0112, 3, 1, struct.pack(order + "H", 6))
        shown = to_rgb(decode_image(with_exif(kind, exif_block(order, six, *odd))))
        assert shown.tobytes() == expected, odd


def test_odd_tags_of_a_tiff_do_not_matter() -> None:
    data = saved(NOISE, "TIFF", compression="tiff_adobe_deflate", exif=turned(6))
    expected = to_rgb(decode_image(data)).tobytes()
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    table = [data[start + 2 + 12 * n : start + 14 + 12 * n] for n in range(count)]
    draw = random.Random(0)
    for _ in range(100):
        # Not 0x9C9B and the like: libtiff itself prints a line about these.
        tag, typ = draw.choice((0x10F, 0x110, 0x131, 0x14A, 0x8769, 0x8825)), draw.randrange(1, 13)
        odd = struct.pack("<HHI", tag, typ, 1) + draw.randbytes(4)
        entries = sorted([*table, odd], key=lambda entry: struct.unpack_from("<H", entry)[0])
        body = data + bytes(len(data) % 2)
        body = body[:4] + struct.pack("<I", len(body)) + body[8:]
        body += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
        assert to_rgb(decode_image(body)).tobytes() == expected, odd


@pytest.mark.parametrize(
    "block",
    [b"", b"II*\0", b"no TIFF at all", exif_block("<", (0x0112, 3, 1, b"\x09")),
     exif_block("<", (0x0112, 2, 1, b"6")), exif_block("<", (0x0112, 3, 2, b"\6\0\6\0"))[:-8]],
)  # fmt: skip
def test_an_orientation_that_cannot_be_read_is_upright(block: bytes) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        assert to_rgb(decode_image(with_exif(kind, block))).size == NOISE.size


def much(kind: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    if kind == "icc":
        return saved(NOISE, "PNG", icc_profile=bytes(1_500_000), exif=turned(6))
    if kind == "many":  # of an allowed size each, above the limit together
        for number in range(70):
            info.add_text(f"part {number}", "x" * 1_000_000, zip=True)
    add = info.add_itxt if kind == "itxt" else info.add_text
    add("workflow", "x" * 1_500_000, zip=True)
    return saved(NOISE, "PNG", pnginfo=info, exif=turned(6))


@pytest.mark.parametrize("kind", ["ztxt", "itxt", "icc", "many"])
def test_megabytes_of_text_do_not_matter_and_the_orientation_counts(kind: str) -> None:
    shown = to_rgb(decode_image(much(kind)))
    assert shown.tobytes() == NOISE.transpose(Image.Transpose.ROTATE_270).tobytes()


def test_text_behind_the_pixels_and_a_wrong_checksum_do_not_matter() -> None:
    data, text = saved(NOISE, "PNG"), much("ztxt")
    start = text.index(b"zTXt") - 4
    chunk = text[start : start + 12 + int.from_bytes(text[start : start + 4], "big")]
    for odd in (chunk, chunk[:-1] + bytes([chunk[-1] ^ 1])):
        for place in (33, len(data) - 12):  # behind the header, and before the end
            found = decode_image(data[:place] + odd + data[place:])
            assert found.tobytes() == NOISE.tobytes()
