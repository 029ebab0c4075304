"""Images to tensors: nothing is squashed, flipped or lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from edge_glass.encoders.towers.preprocessing import ImageTransform, image_transform

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


def test_a_batch_of_squares_is_normalised_to_the_same_bits() -> None:
    draw = np.random.default_rng(0)
    shapes = [(30, 50, 3), (64, 40, 3)]
    images = [Image.fromarray(draw.integers(0, 256, each, dtype=np.uint8)) for each in shapes]
    transform = image_transform(24, "pad", (0.48, 0.45, 0.4), (0.26, 0.27, 0.28))
    squares = torch.from_numpy(np.stack([transform.square(each) for each in images]))
    normalize = transform.normalizer(torch.device("cpu"))
    assert torch.equal(normalize(squares), torch.stack([*map(transform, images)]))


def test_pad_shows_the_whole_image_between_bars_of_the_mean_colour() -> None:
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
    assert found.max() == 1  # the image shows, even one pixel thin


def test_the_image_itself_is_left_alone() -> None:
    image = Image.new("RGB", (10, 10), (9, 8, 7))
    plain(4)(image)
    assert image.size == (10, 10)
    assert image.getpixel((0, 0)) == (9, 8, 7)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 0),
        ("image_size", 2**20),
        ("fit", "squash"),
        ("pad_color", "black"),
        ("resample", "nearest"),
        ("mean", (0.5, 0.5)),
        ("mean", (0.5, 0.5, float("nan"))),
        ("std", (0.5, 0.5, 0.0)),
    ],
)
def test_bad_fields_are_refused(field: str, value: object) -> None:
    fields = {"image_size": 8, "fit": "pad", "mean": HALF, "std": HALF, field: value}
    with pytest.raises(Exception, match=field):  # of beartype if the type is wrong
        ImageTransform(**fields)
