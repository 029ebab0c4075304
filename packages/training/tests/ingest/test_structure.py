"""Whole images are known by their structure; cut and damaged ones are not."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from edge_glass.training.ingest.structure import whole_image


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    pixels = random.Random(0).randbytes(64 * 48 * 3)
    file = io.BytesIO()
    Image.frombytes("RGB", (64, 48), pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def thumbnailed() -> bytes:
    """A JPEG with a whole JPEG in its EXIF data, as cameras write it."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + saved("JPEG", quality=10)
    return saved("JPEG", exif=exif)


IMAGES = {
    "jpeg": saved("JPEG"),
    "progressive": saved("JPEG", progressive=True),
    "cmyk": saved("JPEG", "CMYK"),
    "thumbnail": thumbnailed(),
    "png": saved("PNG"),
    "palette": saved("PNG", "P"),
    "grey": saved("PNG", "I;16"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_a_whole_image_and_every_kind_of_cut(name: str) -> None:
    data = IMAGES[name]
    kind = "PNG" if name in ("png", "palette", "grey") else "JPEG"
    assert whole_image(data) == (kind, (64, 48))
    assert whole_image(data + b"what a camera adds" * 1000) == (kind, (64, 48))
    for share in range(1, 20):
        assert whole_image(data[: len(data) * share // 20]) is None


def test_a_changed_byte_of_a_png_is_noticed() -> None:
    data = bytearray(IMAGES["png"])
    data[len(data) // 2] ^= 1
    assert whole_image(bytes(data)) is None


def test_other_formats_are_left_to_the_decoder() -> None:
    assert whole_image(saved("WEBP")) is None
    assert whole_image(b"") is None
