"""A picture is refused for a named reason, and what is kept can be encoded."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from PIL import Image

from edge_glass.encoders.components import ConfigError, validate
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.training.prepare.filters import PrepareConfig, image_hash
from edge_glass.training.prepare.perceptual_hash import perceptual_hash
from tiny_pixmo import picture

OPTIONS: dict[str, Any] = {
    "min_side": 8, "max_aspect": 4.0, "max_caption_length": 100, "shares": {"train": 1.0}
}  # fmt: skip
CONFIG = PrepareConfig(**OPTIONS)


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LAB"]
)
def test_what_is_kept_can_be_shown(mode: str) -> None:
    image = Image.new("LAB", (12, 12), (90, 128, 128))
    if mode != "LAB":
        image = Image.new("L", (12, 12), 90).convert("I" if mode == "I;16" else mode).convert(mode)
    data = encoded(image, "PNG" if mode in ("LA", "P", "RGBA") else "TIFF")
    assert decode_image(data).mode == mode
    assert to_rgb(decode_image(data)).mode == "RGB"
    assert image_hash(data, CONFIG) == perceptual_hash(decode_image(data))


def test_what_can_not_be_shown_is_not_kept() -> None:
    data = encoded(Image.new("F", (12, 12), float("nan")), "TIFF")
    with pytest.raises(BadImageError, match="unsupported_mode: mode 'F'"):
        image_hash(data, CONFIG)


def test_a_header_that_is_cut_is_a_reason() -> None:
    data = bytearray(encoded(Image.new("RGB", (12, 12)), "PNG"))
    data[11] = 2
    with pytest.raises(BadImageError, match="undecodable_image: ValueError: Truncated IHDR"):
        image_hash(bytes(data), CONFIG)


def test_shapes() -> None:
    data = picture("red", 0, (60, 20))
    for change, message in (
        ({"min_side": 21}, "too_small: 60 x 20, min_side is 21"),
        ({"max_aspect": 2.9}, r"extreme_aspect: 60 x 20, max_aspect is 2\.9"),
    ):
        with pytest.raises(BadImageError, match=message):
            image_hash(data, PrepareConfig(**{**OPTIONS, **change}))
    assert image_hash(data, PrepareConfig(**{**OPTIONS, "min_side": 20, "max_aspect": 3.0}))


def test_no_hash_where_nobody_asks() -> None:
    config = PrepareConfig(**OPTIONS, near_duplicate_distance=None)
    assert image_hash(picture("red", 0), config) == 0
    assert image_hash(picture("red", 0), CONFIG) != 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"near_duplicates": "drop", "near_duplicate_distance": None}, "needs a near_duplicate_d"),
        ({"near_duplicate_distance": 17}, "near_duplicate_distance is 17, expected 0 to 16"),
        ({"num_workers": 0}, "num_workers is 0, expected 1 or more"),
        (
            {"shares": {"train": 0.5}},
            re.escape("shares are {'train': 0.5}, expected none below 0 and a sum of 1"),
        ),
        ({"near_duplicates": "maybe"}, "near_duplicates"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(PrepareConfig, {**OPTIONS, **change}, where="p")
