"""The stored numbers of unusual modes as a viewer shows them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edge_glass.encoders.images import BadImageError, check_mode, decode_image, to_rgb


def through(image: Image.Image, kind: str = "TIFF") -> list[int]:
    file = io.BytesIO()
    image.save(file, kind)
    shown = to_rgb(decode_image(file.getvalue()))
    assert shown.mode == "RGB"
    red, green, blue = shown.split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()
    return list(red.tobytes())


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floats_of_a_known_range(white: float) -> None:
    values = np.array([[0, white / 2, white]], np.float32)
    assert through(Image.fromarray(values)) == [0, 128, 255]


def test_other_numbers_are_stretched_from_the_lowest_to_the_highest() -> None:
    assert through(Image.fromarray(np.array([[-2, 0, 2]], np.float32))) == [0, 128, 255]
    assert through(Image.fromarray(np.array([[1e6, 2e6]], np.float32))) == [0, 255]
    assert through(Image.fromarray(np.array([[-32768, 0, 32767]], np.int32))) == [0, 128, 255]
    assert through(Image.fromarray(np.array([[70_000, 70_000]], np.int32))) == [0, 0]


def test_not_a_number_is_black_and_infinity_is_white() -> None:
    values = np.array([[np.nan, 0.5, np.inf, -np.inf]], np.float32)
    assert through(Image.fromarray(values)) == [0, 128, 255, 0]
    empty = Image.fromarray(np.full((2, 2), np.nan, np.float32))
    with pytest.raises(BadImageError, match="unsupported_mode: mode 'F' without a finite number"):
        check_mode(empty)
    with pytest.raises(BadImageError, match="unsupported_mode"):
        to_rgb(empty)


def test_16_bits_of_either_byte_order() -> None:
    values = np.array([[0, 128 * 257, 65535]])
    for order in ("<u2", ">u2"):
        image = Image.frombytes(
            "I;16B" if order[0] == ">" else "I;16", (3, 1), values.astype(order).tobytes()
        )
        assert through(image) == [0, 128, 255]
    assert through(Image.fromarray(values.astype(np.int32)), "PPM") == [0, 128, 255]


def test_cie_lab_by_its_lightness() -> None:
    """L* of 50 is the grey 119 (CIE 15, IEC 61966-2-1); it is stored in 8 bits."""
    image = Image.new("LAB", (4, 4), (128, 128, 128))
    file = io.BytesIO()
    image.save(file, "TIFF")
    assert all(
        abs(level - 119) <= 2 for level in to_rgb(decode_image(file.getvalue())).getpixel((0, 0))
    )
