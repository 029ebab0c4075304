"""An image as the bytes of a file, and the reason for which bytes are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edge_glass.encoders.images import BadImageError, decode_image

RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 256, (12, 20, 3), np.uint8))
ORIENTED = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")  # formats that have EXIF


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def reason(data: bytes | None, **options: int) -> str:
    with pytest.raises(BadImageError) as caught:
        decode_image(data, **options)
    return caught.value.reason
