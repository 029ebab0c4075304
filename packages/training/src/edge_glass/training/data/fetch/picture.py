"""What counts as a picture: bytes of a web format that decode whole, within a limit of pixels.

Runs in the worker processes: imports stay light.
"""

from __future__ import annotations

import functools
import hashlib
import io
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from edge_glass.training.data.images import BadImage, decode_image
from edge_glass.training.data.perceptual_hash import perceptual_hash

# no others: Pillow would run Ghostscript on a PostScript file, for one
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "ICO")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of some bytes; `reason` is None for a good picture."""

    reason: str | None
    detail: str = ""
    sha256: str = ""
    perceptual_hash: int = 0
    width: int = 0
    height: int = 0
    format: str = ""


@functools.cache
def formats() -> tuple[str, ...]:
    """Returns those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def check_pictures(bodies: list[bytes], max_pixels: int) -> list[Verdict]:
    """Judges each body."""
    return [check_picture(body, max_pixels) for body in bodies]


def check_picture(body: bytes, max_pixels: int) -> Verdict:
    """Judges one body.

    Returns:
        A verdict with reason None, "missing_image", "not_an_image", "image_bomb",
        "truncated_image" or "broken_image".
    """
    try:
        with warnings.catch_warnings():
            # what Pillow warns of is judged here: pixels by our limit, the rest by decoding
            warnings.simplefilter("ignore")
            width, height, kind = _header(body, max_pixels)
            image = decode_image(body)
            fingerprint = perceptual_hash(image)
    except BadImage as error:
        return Verdict(reason=error.reason, detail=str(error))
    except Exception as error:  # noqa: BLE001 - hostile bytes make decoders raise anything
        return Verdict(reason="broken_image", detail=f"{type(error).__name__}: {error}")
    return Verdict(
        reason=None,
        sha256=hashlib.sha256(body).hexdigest(),
        perceptual_hash=fingerprint,
        width=width,
        height=height,
        format=kind,
    )


def _header(body: bytes, max_pixels: int) -> tuple[int, int, str]:
    if not body:
        raise BadImage("missing_image", "no bytes")
    try:
        with Image.open(io.BytesIO(body), formats=formats()) as opened:
            (width, height), kind = opened.size, opened.format or ""
    except UnidentifiedImageError:
        raise BadImage("not_an_image", f"the bytes begin with {body[:16]!r}") from None
    except Image.DecompressionBombError as error:
        raise BadImage("image_bomb", str(error)) from None
    except OSError as error:
        raise BadImage("truncated_image", str(error)) from None
    if width * height > max_pixels:
        raise BadImage("image_bomb", f"{width} x {height}, max_pixels is {max_pixels}")
    return width, height, kind
