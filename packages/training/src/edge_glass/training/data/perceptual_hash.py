"""A 64-bit fingerprint of what a picture looks like: the difference hash.

The picture shrinks to 9 x 8 greys; each of the 64 bits says whether a grey is lighter than its
left neighbour. Pictures that differ by size, compression or a little colour differ in a few bits.
All is integer arithmetic of Pillow, so that the hash is the same on every CPU (a cosine transform
compares floats with their median, and is not).
Source: Neal Krawetz, "Kind of Like That", hackerfactor.com, 2013.
"""

from __future__ import annotations

from PIL import Image

WIDTH, HEIGHT = 9, 8
# first to a small square, whose rotation costs nothing
SIDE = 72
EXIF_ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def perceptual_hash(image: Image.Image) -> int:
    """Returns the hash of a decoded picture as it is shown: turned as EXIF says, on white."""
    turn = TURNS.get(image.getexif().get(EXIF_ORIENTATION, 1))
    if image.mode in ("P", "PA", "RGBA", "LA", "La", "RGBa") or "transparency" in image.info:
        small = image.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.BOX)
        grey = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("L")
    elif image.mode in ("L", "RGB", "CMYK", "YCbCr"):
        small = image.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
        grey = small.convert("L")
    elif image.mode.startswith(("I", "F")):  # 16 bits a grey
        small = image.convert("I").convert("F").resize((SIDE, SIDE), Image.Resampling.BOX)
        grey = small.point(lambda level: level * (1 / 256)).convert("L")
    else:  # 1 bit and the like
        grey = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX).convert("L")
    if turn is not None:
        grey = grey.transpose(turn)
    pixels = grey.resize((WIDTH, HEIGHT), Image.Resampling.BOX).tobytes()
    bits = 0
    for row in range(HEIGHT):
        for column in range(WIDTH - 1):
            left = row * WIDTH + column
            bits = bits << 1 | (pixels[left + 1] > pixels[left])
    return bits


def hash_distance(one: int, other: int) -> int:
    """Counts the bits that differ; up to about 6 of 64 the pictures look alike."""
    return (one ^ other).bit_count()
