"""An encoder averaged to a coarser grid."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.towers.grid_average import GridAverage, with_grid
from edge_glass.encoders.towers.preprocessing import image_transform


class Places(VisionEncoder):
    """Pixels that hold their own place and brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.grid, self.width, self.image_size = (4, 6), 2, 6
        self.transform = image_transform(6, "pad", (0.0,) * 3, (1.0,) * 3, "white")

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns (B, 24, 2)."""
        places = torch.arange(24.0).expand(len(pixels), 24)
        return torch.stack([places, pixels[:, 0, :4].reshape(len(pixels), 24)], dim=2)


def test_tokens_are_means_of_rectangles() -> None:
    torch.manual_seed(0)
    pixels = torch.rand(3, 3, 6, 6)
    encoder = with_grid(Places(), (2, 3))
    assert (encoder.grid, encoder.width, encoder.image_size) == ((2, 3), 2, 6)
    found = encoder(pixels)
    assert found.shape == (3, 6, 2)
    whole = Places()(pixels).reshape(3, 4, 6, 2)
    for row in range(2):
        for column in range(3):
            part = whole[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            torch.testing.assert_close(found[:, 3 * row + column], part.mean(dim=(1, 2)))
    assert found[0, :, 0].tolist() == [3.5, 5.5, 7.5, 15.5, 17.5, 19.5]
    torch.testing.assert_close(with_grid(Places(), (1, 1))(pixels), whole.mean(dim=(1, 2))[:, None])


def test_its_own_grid_is_left_as_it_is() -> None:
    own = Places()
    assert with_grid(own, (4, 6)) is own
    assert not with_grid(own, (2, 2)).train().training


@pytest.mark.parametrize("grid", [(3, 3), (4, 12), (0, 1)])
def test_a_grid_that_does_not_divide_is_refused(grid: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected one that divides the encoder's 4 x 6"):
        GridAverage(Places(), grid)
