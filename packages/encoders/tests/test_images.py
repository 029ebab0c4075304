"""Every way in which a picture can be bad has its own name."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from edge_glass.encoders.images import BadImage, check_shape, decode_image
from tiny_pixmo import picture


def encoded(size: tuple[int, int], kind: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 80).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_whole_pictures_decode_and_half_ones_do_not(kind: str) -> None:
    data = encoded((64, 48), kind)
    assert decode_image(data).size == (64, 48)
    with pytest.raises(BadImage) as caught:
        decode_image(data[: len(data) // 2])
    assert caught.value.reason == "truncated_image"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "missing_image"),
        (b"", "missing_image"),
        (b"<!doctype html><html>404</html>", "not_an_image"),
    ],
)
def test_no_picture_at_all(data: bytes | None, reason: str) -> None:
    with pytest.raises(BadImage) as caught:
        decode_image(data)
    assert caught.value.reason == reason


def test_shapes() -> None:
    image = decode_image(picture("red", 0, (60, 20)))
    check_shape(image, min_side=20, max_aspect=3.0)
    with pytest.raises(BadImage, match="too_small: 60 x 20, min_side is 21"):
        check_shape(image, min_side=21, max_aspect=3.0)
    with pytest.raises(BadImage, match="extreme_aspect: 60 x 20"):
        check_shape(image, min_side=1, max_aspect=2.9)
