"""Fixed two-dimensional positions: sines and cosines of the row and of the column."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def sincos_positions(grid: tuple[int, int], width: int) -> Float[Tensor, "P D"]:
    """Computes a vector for each cell of a grid, row by row.

    The first half of its numbers encodes the row and the second half the column: sines, then
    cosines, of wavelengths from 2 pi to 2 pi * 10,000, as in "Attention is all you need" (Vaswani
    et al., 2017).

    Args:
        grid: rows and columns; P = rows * columns.
        width: dim of a vector (D), a multiple of 4.

    Raises:
        ValueError: if `width` is not a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"width is {width}, expected a multiple of 4 for positions in the plane")
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in grid)
    step = torch.arange(width // 4, dtype=torch.float64) / (width // 4)
    frequencies = torch.pow(10_000.0, -step)

    def encode(positions: Tensor) -> Tensor:
        angles = positions[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)  # (n, width / 2)

    by_row = encode(rows)[:, None].expand(-1, grid[1], -1)
    by_column = encode(columns)[None].expand(grid[0], -1, -1)
    return torch.cat([by_row, by_column], dim=2).reshape(grid[0] * grid[1], width).float()
