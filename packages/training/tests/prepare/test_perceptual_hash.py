"""Near-duplicates are near, others far, and the bits follow the definition."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from edge_glass.training.prepare.perceptual_hash import perceptual_hash

ALIKE = 6  # of 64 bits


def hash_distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def photo(seed: int, size: tuple[int, int] = (400, 300)) -> Image.Image:
    """Smooth and irregular, as photographs are."""
    noise = Image.frombytes("RGB", (12, 9), random.Random(seed).randbytes(12 * 9 * 3))
    return noise.resize(size, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int, **options: object) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, **options)
    return Image.open(out)


def test_the_bits_are_the_definition() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9), np.uint8)
    bits = (pixels[:, 1:] > pixels[:, :-1]).ravel()
    expected = int("".join(map(str, bits.astype(int))), 2)
    assert perceptual_hash(Image.fromarray(pixels)) == expected


def test_copies_are_near_and_other_pictures_far() -> None:
    first = perceptual_hash(photo(1))
    for copy in (photo(1, (800, 600)), jpeg(photo(1), 30), photo(1).convert("L")):
        assert hash_distance(first, perceptual_hash(copy)) <= ALIKE
    others = [hash_distance(first, perceptual_hash(photo(seed))) for seed in range(2, 40)]
    assert min(others) > 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_hashed_as_it_is_shown(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = jpeg(photo(3), 95, exif=exif)
    shown = ImageOps.exif_transpose(stored)
    # if two neighbours are nearly equal, rounding may differ: alike, but not always equal
    assert hash_distance(perceptual_hash(stored), perceptual_hash(shown)) <= ALIKE


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I", "F"])
def test_every_mode_has_a_hash(mode: str) -> None:
    assert 0 <= perceptual_hash(photo(4).convert("L").convert(mode)) < 2**64


def test_sixteen_bits_hash_as_eight_do() -> None:
    grey = np.asarray(photo(5).convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert deep.mode == "I;16"
    distance = hash_distance(perceptual_hash(deep), perceptual_hash(Image.fromarray(grey)))
    assert distance <= ALIKE


def test_hidden_colours_do_not_count() -> None:
    image = photo(6).convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert perceptual_hash(image) == 0  # white all over
