"""A picture is refused for a named reason, and what is kept can be encoded."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_glass.encoders.components import ConfigError, validate
from edge_glass.encoders.images import BadImage, decode_image
from edge_glass.encoders.towers.preprocessing import rgb
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


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_what_is_kept_can_be_shown(mode: str) -> None:
    image = Image.new("L", (12, 12), 90).convert("I" if mode == "I;16" else mode).convert(mode)
    data = encoded(image, "PNG" if mode in ("LA", "P", "RGBA") else "TIFF")
    assert decode_image(data).mode == mode
    try:
        rgb(decode_image(data))
    except ValueError:
        with pytest.raises(BadImage, match="unsupported_mode"):
            image_hash(data, CONFIG)
        assert mode == "F"
    else:
        assert image_hash(data, CONFIG) == perceptual_hash(decode_image(data))


def test_greys_beyond_16_bits_are_refused_as_the_encoder_does() -> None:
    data = encoded(Image.fromarray(np.full((12, 12), 70_000, np.int32)), "TIFF")
    with pytest.raises(ValueError, match="expected 0 to 65535"):
        rgb(decode_image(data))
    with pytest.raises(BadImage, match="unsupported_mode: I, values from 70000 to 70000"):
        image_hash(data, CONFIG)


@pytest.mark.parametrize(
    ("kind", "place", "value", "error"),
    [("PNG", 11, 2, "ValueError: Truncated IHDR"), ("DDS", 80, 148, "NotImplementedError")],
)
def test_whatever_a_decoder_raises_is_a_reason(
    kind: str, place: int, value: int, error: str
) -> None:
    data = bytearray(encoded(Image.new("RGB", (12, 12)), kind))
    data[place] = value
    with pytest.raises(BadImage, match=f"undecodable_image: {error}"):
        image_hash(bytes(data), CONFIG)


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
        ({"shares": {"train": 0.5}}, re.escape("shares sum to 0.5, expected 1")),
        ({"near_duplicates": "maybe"}, "near_duplicates"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(PrepareConfig, {**OPTIONS, **change}, where="p")
