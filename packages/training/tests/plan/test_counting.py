"""What is counted without data equals what real tensors take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_glass.training.plan.counting import UnknownSizeError, counted


def test_a_linear_layer_takes_weights_input_and_output() -> None:
    layer = nn.Linear(1000, 500, bias=False)
    with counted(layer) as count, torch.no_grad():
        assert count.now == 4 * 1000 * 500
        layer(torch.empty(64, 1000))
    assert count.peak == 4 * (1000 * 500 + 64 * 1000 + 64 * 500)
    assert count.now == 4 * 1000 * 500
    assert count.flops == 2 * 64 * 1000 * 500


def test_a_tied_weight_counts_once() -> None:
    first, second = nn.Linear(100, 100, bias=False), nn.Linear(100, 100, bias=False)
    second.weight = first.weight
    with counted(nn.Sequential(first, second)) as count:
        assert count.now == 4 * 100 * 100


def test_the_backward_pass_adds_gradients_and_frees_activations() -> None:
    """Of two layers and a ReLU autograd keeps input, inner values once, and no output."""
    width, rows = 256, 512
    layers = nn.Sequential(nn.Linear(width, width, bias=False), nn.ReLU())
    with counted(layers) as count:
        output = layers(torch.empty(rows, width))
        assert count.now == 4 * (width**2 + 2 * rows * width)  # input and the ReLU's output
        output.sum().backward()
        del output
    assert count.now == 4 * 2 * width**2


@pytest.mark.parametrize("found", [0, 7])
def test_nonzero_finds_as_many_places_as_are_given(found: int) -> None:
    with counted(found=found):
        rows, columns = torch.zeros(3, 4).nonzero(as_tuple=True)
        assert rows.shape == columns.shape == (found,)


def test_the_largest_number_of_true_per_row_is_the_one_given() -> None:
    with counted(found=7):
        chosen = torch.ones(3, 4, dtype=torch.bool)
        assert int(chosen.sum(dim=1).max()) == 7


@pytest.mark.parametrize(
    "needs_numbers",
    [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: int(x.long().max())],
)
def test_what_depends_on_numbers_has_no_known_size(needs_numbers: Callable[[Tensor], Any]) -> None:
    with pytest.raises(UnknownSizeError, match="depends on numbers"), counted(found=7):
        needs_numbers(torch.ones(3))
