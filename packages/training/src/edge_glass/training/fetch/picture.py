"""What counts as a picture: bytes of a web format that decode whole, within a limit of pixels.

Runs in the worker processes, whose start costs what is imported here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edge_glass.encoders.images import check_mode, decode_image
from edge_glass.training.prepare.perceptual_hash import perceptual_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the manifest says of a good picture."""

    sha256: str
    perceptual_hash: int
    width: int
    height: int
    format: str


def picture_facts(body: bytes, max_pixels: int) -> Facts:
    """Decodes an image fully, and describes it.

    Raises:
        BadImageError: the reasons of `decode_image`, or "unsupported_mode".
    """
    image = decode_image(body, max_pixels=max_pixels)
    check_mode(image)
    return Facts(
        sha256=hashlib.sha256(body).hexdigest(),
        perceptual_hash=perceptual_hash(image),
        width=image.width,
        height=image.height,
        format=image.format or "",
    )
