"""A vision encoder whose patch tokens are averaged to a coarser grid.

A model has the grid that it was trained on (`grid` in its config). If the cached features were
pooled to it, the encoder's own grid is finer, and its tokens are averaged in the same way.
"""

from __future__ import annotations

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.towers.classifier import ClassifierRows


class GridAverage(VisionEncoder):
    """Wraps a frozen encoder; a token is the mean of a rectangle of the encoder's tokens."""

    def __init__(self, encoder: VisionEncoder, grid: tuple[int, int]) -> None:
        super().__init__()
        (rows, columns), (height, width) = grid, encoder.grid
        if min(grid) < 1 or height % rows or width % columns:
            raise ValueError(
                f"the grid is {rows} x {columns}, expected one that divides the encoder's "
                f"{height} x {width} for images of {encoder.image_size} pixels"
            )
        self.encoder = encoder
        self.grid = grid
        self.width, self.image_size = encoder.width, encoder.image_size
        self.transform = encoder.transform
        self.can_be_recorded = encoder.can_be_recorded
        self.freeze()

    def classifier_rows(self) -> ClassifierRows | None:
        return self.encoder.classifier_rows()

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
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
    """Returns the encoder if it has this grid, and otherwise one that averages to it."""
    return encoder if tuple(encoder.grid) == tuple(grid) else GridAverage(encoder, grid)
