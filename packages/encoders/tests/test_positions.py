"""Fixed positions against their formula."""

from __future__ import annotations

import math

import pytest
import torch

from edge_glass.encoders.positions import sincos_positions


def test_each_cell_tells_its_row_and_its_column() -> None:
    found = sincos_positions((3, 5), 8)
    assert found.shape == (15, 8)
    for row in range(3):
        for column in range(5):
            expected = [
                wave(place / 10_000 ** (i / 2))
                for place in (row, column)
                for wave in (math.sin, math.cos)
                for i in range(2)
            ]
            # one rounding from float64
            torch.testing.assert_close(
                found[5 * row + column], torch.tensor(expected), atol=1e-6, rtol=0
            )


def test_no_two_cells_are_alike() -> None:
    found = sincos_positions((24, 24), 32)
    distances = torch.cdist(found, found) + 99 * torch.eye(576)
    assert distances.min() > 0.1


def test_a_width_that_can_not_be_quartered_is_refused() -> None:
    with pytest.raises(ValueError, match="width is 6, expected a multiple of 4"):
        sincos_positions((2, 2), 6)
