"""A 64-bit fingerprint of what an image looks like: the difference hash.

The image is reduced to 9 x 8 grey levels. Each of the 64 bits is set if a level is lighter than its
left neighbour. Images that differ in size, compression or slightly in colour differ in a few bits,
up to about 6. Everything is integer arithmetic of Pillow, so the hash is the same on every CPU. (A
hash by cosine transform compares floats with their median, so it is not.)
Source: Neal Krawetz, "Kind of Like That", hackerfactor.com, 2013.
"""

from __future__ import annotations

from itertools import pairwise

from PIL import Image

from edge_glass.encoders.image_modes import on_white
from edge_glass.encoders.images import TURNS, guarded, orientation

WIDTH, HEIGHT = 9, 8
SIDEWAYS = (5, 6, 7, 8)


def perceptual_hash(image: Image.Image) -> int:
    """Returns the hash of a decoded image as viewers show it: in EXIF orientation, on white.

    Raises:
        BadImageError: if Pillow can't convert it.
    """
    turn = orientation(image)
    with guarded():
        grey = _shrink(image, (HEIGHT, WIDTH) if turn in SIDEWAYS else (WIDTH, HEIGHT))
        if turn in TURNS:
            grey = grey.transpose(TURNS[turn])
    pixels = grey.tobytes()
    bits = 0
    for row in range(HEIGHT):
        line = pixels[row * WIDTH : (row + 1) * WIDTH]
        for left, right in pairwise(line):
            bits = bits << 1 | (right > left)
    return bits


def _shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Returns the grey levels of an image of any mode, reduced to a size."""
    box = Image.Resampling.BOX
    if image.mode in ("P", "PA", "RGBA", "LA", "La", "RGBa") or "transparency" in image.info:
        small = image.convert("RGBA").resize(size, box)
        return Image.alpha_composite(Image.new("RGBA", size, "white"), small).convert("L")
    if image.mode.startswith(("I", "F")) or image.mode == "LAB":  # not 8 bits per level
        image = on_white(image)
    if image.mode not in ("L", "RGB", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    return image.resize(size, box).convert("L")
