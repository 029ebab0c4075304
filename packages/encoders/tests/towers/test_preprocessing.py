from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from edge_glass.encoders.towers.preprocessing import ImageTransform, image_transform, rgb

HALF = (0.5, 0.5, 0.5)


def plain(size: int, fit: str = "pad", pad_color: str = "mean") -> ImageTransform:
    """Maps 0 to -1 and 255 to 1."""
    return image_transform(size, fit, HALF, HALF, pad_color)


def test_pixels_of_the_right_size_are_only_normalised() -> None:
    values = np.arange(3 * 16 * 16, dtype=np.int64).reshape(16, 16, 3) % 256
    image = Image.fromarray(values.astype(np.uint8))
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    expected = (values / 255 - np.array(mean)) / np.array(std)
    for fit in ("pad", "crop"):
        found = image_transform(16, fit, mean, std)(image)
        assert found.dtype == torch.float32
        # one rounding each of scale, shift and result, at values up to 3
        np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_pad_shows_the_whole_picture_between_bars_of_the_mean_colour() -> None:
    image = Image.new("RGB", (40, 20), (255, 255, 255))
    found = plain(16)(image)
    assert torch.equal(found[:, 4:12], torch.ones(3, 8, 16))
    # 127.5 has no 8-bit value: the bar is half a level off zero
    assert found[:, :4].abs().max() <= 0.5 / 127.5 + 1e-6
    assert found[:, 12:].abs().max() <= 0.5 / 127.5 + 1e-6


def test_pad_can_be_white() -> None:
    found = plain(16, pad_color="white")(Image.new("RGB", (20, 40), (0, 0, 0)))
    assert torch.equal(found[:, :, :4], torch.ones(3, 16, 4))
    assert torch.equal(found[:, :, 4:12], -torch.ones(3, 16, 8))


def test_crop_shows_the_largest_central_square() -> None:
    image = Image.new("RGB", (60, 20), (0, 0, 0))
    image.paste((255, 255, 255), (20, 0, 40, 20))
    found = plain(10, "crop")(image)
    assert torch.equal(found[:, :, 1:-1], torch.ones(3, 10, 8))
    assert found.min() > 0.8  # the outermost columns see a little of their neighbours


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("size", [(200, 120), (120, 200), (33, 90)])
def test_a_circle_stays_round(fit: str, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (0, 0, 0))
    x, y, r = size[0] / 2, size[1] / 2, min(size) / 2 - 2
    ImageDraw.Draw(image).ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255))
    bright = plain(64, fit, "mean")(image)[0] > 0.5
    # off one pixel at most: the rounding of the fitted size and of the circle's own edge
    assert abs(int(bright.any(0).sum()) - int(bright.any(1).sum())) <= 1


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_left_stays_left_and_top_stays_top(fit: str) -> None:
    image = Image.new("RGB", (40, 40), (0, 0, 0))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    red = plain(32, fit)(image)[0]
    assert red[4, 4] == 1
    assert max(red[4, 28], red[28, 4], red[28, 28]) == -1


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(["pad", "crop"]))
def test_any_size_and_aspect_gives_the_square(width: int, height: int, fit: str) -> None:
    found = plain(32, fit)(Image.new("RGB", (width, height), (255, 255, 255)))
    assert found.shape == (3, 32, 32)
    assert found.max() == 1  # the picture shows, even one pixel thin


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (40, 20), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    upright = rgb(Image.open(file))
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 5)) == (255, 255, 255)
    assert upright.getpixel((10, 35)) == (0, 0, 0)


def test_transparency_is_shown_on_white() -> None:
    half_red = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert rgb(half_red).getpixel((0, 0)) == (255, 127, 127)
    assert rgb(Image.new("LA", (2, 2), (0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_and_its_transparent_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert rgb(image).getpixel((1, 0)) == (200, 100, 50)
    image.info["transparency"] = 0
    assert rgb(image).getpixel((0, 0)) == (255, 255, 255)
    assert rgb(image).getpixel((1, 0)) == (200, 100, 50)


def test_a_transparent_colour_of_rgb() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    image.info["transparency"] = (1, 2, 3)
    assert rgb(image).getpixel((0, 0)) == (255, 255, 255)
    assert rgb(image).getpixel((1, 0)) == (9, 9, 9)


def test_cmyk_grey_and_black_and_white() -> None:
    assert rgb(Image.new("CMYK", (2, 2), (0, 255, 255, 0))).getpixel((0, 0)) == (255, 0, 0)
    assert rgb(Image.new("L", (2, 2), 77)).getpixel((0, 0)) == (77, 77, 77)
    assert rgb(Image.new("1", (2, 2), 1)).getpixel((0, 0)) == (255, 255, 255)


def test_16_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 128 * 257, 65535]], dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    shown = rgb(Image.open(file))
    assert [shown.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]


def test_modes_without_a_known_range_are_refused() -> None:
    with pytest.raises(ValueError, match="mode 'F'"):
        rgb(Image.new("F", (2, 2), 0.5))
    with pytest.raises(ValueError, match="expected 0 to 65535"):
        rgb(Image.new("I", (2, 2), 70_000))
    with pytest.raises(ValueError, match="0 x 5 pixels"):
        rgb(Image.new("RGB", (0, 5)))


def test_the_picture_itself_is_left_alone() -> None:
    image = Image.new("RGB", (10, 10), (9, 8, 7))
    plain(4)(image)
    assert image.size == (10, 10)
    assert image.getpixel((0, 0)) == (9, 8, 7)


@pytest.mark.parametrize(
    ("field", "value"), [("image_size", 0), ("fit", "squash"), ("pad_color", "black")]
)
def test_bad_fields_are_refused(field: str, value: object) -> None:
    fields = {"image_size": 8, "fit": "pad", "mean": HALF, "std": HALF, field: value}
    with pytest.raises(Exception, match=field):  # of beartype where the type is wrong
        ImageTransform(**fields)
