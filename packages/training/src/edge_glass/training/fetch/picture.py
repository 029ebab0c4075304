"""What counts as a picture: bytes of a web format that decode whole, within a limit of pixels.

Runs in the worker processes, whose start costs what is imported here.
"""

from __future__ import annotations

import functools
import hashlib
import io
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from edge_glass.encoders.images import BadImage
from edge_glass.training.prepare.perceptual_hash import perceptual_hash

# no others: Pillow would run Ghostscript on a PostScript file, for one
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF", "JPEG2000", "ICO")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the manifest says of a good picture."""

    sha256: str
    perceptual_hash: int
    width: int
    height: int
    format: str


@functools.cache
def formats() -> tuple[str, ...]:
    """Returns those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def picture_facts(body: bytes, max_pixels: int) -> Facts:
    """Decodes a picture fully, and describes it.

    `data.images.decode_image` is the same check without the limits on format and pixels.

    Raises:
        BadImage: "missing_image", "not_an_image", "image_bomb", "truncated_image" or
            "broken_image".
    """
    if not body:
        raise BadImage("missing_image", "no bytes")
    try:
        with warnings.catch_warnings():
            # what Pillow warns of is judged here: pixels by our limit, the rest by decoding
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(body), formats=formats()) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise BadImage("image_bomb", f"{width} x {height}, max_pixels is {max_pixels}")
                kind = image.format or ""
                image.load()
                fingerprint = perceptual_hash(image)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("not_an_image", f"the bytes begin with {body[:16]!r}") from None
    except Image.DecompressionBombError as error:
        raise BadImage("image_bomb", str(error)) from None
    except (OSError, SyntaxError) as error:
        raise BadImage("truncated_image", str(error)) from None
    except Exception as error:
        # hostile bytes make decoders raise anything
        raise BadImage("broken_image", f"{type(error).__name__}: {error}") from error
    return Facts(
        sha256=hashlib.sha256(body).hexdigest(),
        perceptual_hash=fingerprint,
        width=width,
        height=height,
        format=kind,
    )
