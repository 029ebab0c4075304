"""The place of an image in its square."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edge_glass.encoders.towers.square import Fit, fit_square, image_box


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (30, 30)])
def test_the_box_of_a_padded_image_is_the_part_that_is_not_padding(size: tuple[int, int]) -> None:
    square = np.asarray(fit_square(Image.new("RGB", size, "black"), 80, "pad"))
    rows, columns = np.nonzero(square[..., 0] < 128)
    found = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert image_box(size, "pad") == tuple(each / 80 for each in found)


@pytest.mark.parametrize(
    ("size", "box"), [((40, 20), (-0.5, 0, 2, 1)), ((20, 30), (0, -0.25, 1, 1.5))]
)
def test_the_box_of_a_cropped_image_is_larger_than_the_square(
    size: tuple[int, int], box: tuple[float, ...]
) -> None:
    fit: Fit = "crop"
    assert image_box(size, fit) == box
