"""Images as viewers show them: every mode, format, orientation and size."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageOps

from edge_glass.encoders.images import decode_image, orientation, to_rgb
from image_samples import NOISE, ORIENTED, reason, saved, turned


def as_viewers_show_it(data: bytes) -> Image.Image:
    """The reference, for modes of 8 bits: Pillow's own turning, then white below what is clear."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(page, layer).convert("RGB")


def half_clear() -> Image.Image:
    image = NOISE.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


SHOWN = {
    "RGB": (NOISE, ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "ICO")),
    "L": (NOISE.convert("L"), ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM")),
    "1": (NOISE.convert("1"), ("PNG", "TIFF", "BMP")),
    "P": (NOISE.quantize(16), ("PNG", "GIF", "TIFF", "BMP")),
    "LA": (half_clear().convert("LA"), ("PNG", "TIFF")),
    "RGBA": (half_clear(), ("PNG", "WEBP", "TIFF")),
    "CMYK": (NOISE.convert("CMYK"), ("JPEG", "TIFF")),
    "YCbCr": (NOISE.convert("YCbCr"), ("TIFF", "JPEG")),
}


@pytest.mark.parametrize("mode", SHOWN)
def test_pixels_are_those_of_pillow_in_every_mode_format_and_orientation(mode: str) -> None:
    image, kinds = SHOWN[mode]
    for kind, value in product(kinds, range(1, 9)):
        options = {"exif": turned(value)} if kind in ORIENTED else {}
        data = saved(image, kind, **options)
        expected = as_viewers_show_it(data)
        found = to_rgb(decode_image(data))
        assert found.mode == "RGB"
        assert found.size == expected.size
        assert found.tobytes() == expected.tobytes(), (mode, kind, value)
        if kind not in ORIENTED:
            break


def test_clear_colours_of_palettes_greys_and_rgb() -> None:
    for image, clear in ((NOISE.quantize(16), 3), (NOISE.convert("L"), 77), (NOISE, (1, 2, 3))):
        data = saved(image, "PNG", transparency=clear)
        assert to_rgb(decode_image(data)).tobytes() == as_viewers_show_it(data).tobytes()
    half = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert to_rgb(half).getpixel((0, 0)) == (255, 127, 127)


def test_the_eight_orientations() -> None:
    """By the corner that is white, against the drawing in the EXIF standard."""
    image = Image.new("L", (40, 20), 0)
    image.paste(255, (0, 0, 10, 10))  # top left, as stored
    corners = ["top left", "top right", "bottom right", "bottom left"] * 2
    for value, corner in enumerate(corners, 1):
        stored = decode_image(saved(image, "PNG", exif=turned(value)))
        assert orientation(stored) == value
        shown = to_rgb(stored)
        assert shown.size == ((40, 20) if value < 5 else (20, 40))
        x = 2 if "left" in corner else shown.width - 3
        y = 2 if "top" in corner else shown.height - 3
        assert shown.getpixel((x, y)) == (255, 255, 255)
        # what was shown is not turned again, and what was stored is left alone
        assert to_rgb(shown).tobytes() == shown.tobytes()
        assert orientation(shown) == 1
        assert orientation(stored) == value
        assert stored.size == (40, 20)


def test_16_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 128 * 257, 65535]], dtype=np.uint16)
    shown = to_rgb(decode_image(saved(Image.fromarray(values), "PNG")))
    assert [shown.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]


def test_a_draft_is_at_least_as_large_as_asked_and_only_of_jpeg() -> None:
    large = NOISE.resize((400, 240))
    draft = decode_image(saved(large, "JPEG"), draft=lambda size: (size[0] // 3, size[1] // 3))
    assert draft.size == (200, 120)
    assert decode_image(saved(large, "PNG"), draft=lambda size: (1, 1)).size == (400, 240)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_a_large_image_is_decoded_at_a_fraction_of_its_size(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.linear_gradient("L").resize((200, 100))
    data, turning = saved(image, kind), saved(image, "JPEG", progressive=True)
    whole = np.asarray(to_rgb(decode_image(data)), dtype=float)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)  # Pillow refuses twice as many
    small = decode_image(data)
    assert small.size == (100, 50)
    halved = whole.reshape(50, 2, 100, 2, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(to_rgb(small)) - halved).mean() < 3  # a different filter, of 255
    assert reason(data, max_pixels=4999) == "image_bomb"
    assert reason(data, reduce_large=False) == "image_bomb"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 160)
    assert decode_image(data).size == (25, 13)
    assert reason(turning) == "image_bomb"  # all of its coefficients would be in memory
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert reason(data) == "image_bomb"


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, edge_glass.encoders.files, edge_glass.encoders.images;"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
