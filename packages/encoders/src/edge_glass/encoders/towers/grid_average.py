"""A vision encoder whose places are averaged to a coarser grid.

A model knows the grid that it was trained on (`grid` in its config); where the encoder has a finer
one, because the cached features were pooled, its live pictures are averaged in the same way.
"""

from __future__ import annotations

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from edge_glass.encoders.base import VisionEncoder


class GridAverage(VisionEncoder):
    """Wraps a frozen encoder; a token is the mean of a rectangle of the encoder's tokens."""

    def __init__(self, encoder: VisionEncoder, grid: tuple[int, int]) -> None:
        """Takes over all but the grid.

        Raises:
            ValueError: where the grid does not divide the encoder's.
        """
        super().__init__()
        (rows, columns), (height, width) = grid, encoder.grid
        if min(grid) < 1 or height % rows or width % columns:
            raise ValueError(
                f"the grid asked for is {rows} x {columns}, expected one that divides the "
                f"encoder's {height} x {width} for pictures of {encoder.image_size} pixels"
            )
        self.encoder = encoder
        self.grid = grid
        self.width, self.image_size = encoder.width, encoder.image_size
        self.transform = encoder.transform
        self.freeze()

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
        """Encodes preprocessed pictures, and averages."""
        (rows, columns), (height, width) = self.grid, self.encoder.grid
        tokens: Tensor = reduce(
            self.encoder(pixels),
            "b (h i w j) d -> b (h w) d",
            "mean",
            h=rows,
            i=height // rows,
            w=columns,
            j=width // columns,
        )
        return tokens


def with_grid(encoder: VisionEncoder, grid: tuple[int, int]) -> VisionEncoder:
    """Returns the encoder itself where it has this grid, else one that averages to it.

    Raises:
        ValueError: where the grid does not divide the encoder's.
    """
    return encoder if tuple(encoder.grid) == tuple(grid) else GridAverage(encoder, grid)
