"""The Matryoshka projection, and embeddings that are cut."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from edge_glass.encoders.matryoshka import MatryoshkaProjection, check_dims, truncate


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def test_the_largest_dim_is_the_width_and_may_exceed_the_inputs() -> None:
    torch.manual_seed(0)
    projection = MatryoshkaProjection(10, [64, 8])
    x = noise(3, 10)
    assert projection(x).shape == (3, 64)
    assert torch.equal(projection(x), F.linear(x, projection.linear.weight, projection.linear.bias))


def test_a_fresh_projection_keeps_the_encoders_angles() -> None:
    torch.manual_seed(0)
    x = F.normalize(noise(40, 384), dim=1)
    x[1] = F.normalize(x[0] + x[1], dim=0)  # two that are alike
    y = F.normalize(MatryoshkaProjection(384, [512])(x), dim=1)
    # a random projection to 512 keeps a cosine to about 1 / sqrt(512) = 0.044
    assert ((y @ y.T) - (x @ x.T)).abs().max() < 4 * 0.044


def test_the_mlp_is_beside_the_linear_map_and_starts_at_zero() -> None:
    torch.manual_seed(0)
    projection = MatryoshkaProjection(10, [16, 4], kind="mlp", hidden_width=12)
    x = noise(3, 10)
    linear = F.linear(x, projection.linear.weight, projection.linear.bias)
    assert torch.equal(projection(x), linear)
    assert projection.mlp is not None
    _, first, _, last = projection.mlp
    torch.nn.init.normal_(last.weight)
    hidden = F.gelu(F.linear(F.layer_norm(x, (10,)), first.weight, first.bias))
    expected = linear + hidden @ last.weight.T
    assert hidden.shape == (3, 12)
    torch.testing.assert_close(projection(x), expected)


def test_dropout_acts_in_training_only() -> None:
    projection = MatryoshkaProjection(50, [8], dropout=0.5)
    x = noise(3, 50)
    torch.manual_seed(0)
    assert not torch.equal(projection(x), projection(x))
    assert torch.equal(projection.eval()(x), projection(x))


def test_truncated_is_the_first_numbers_normalised() -> None:
    x = noise(4, 16)
    for dim in (1, 5, 16):
        expected = x[:, :dim] / (x[:, :dim] ** 2).sum(1, keepdim=True) ** 0.5
        torch.testing.assert_close(truncate(x, dim), expected)
    assert torch.equal(truncate(x), truncate(x, 16))
    # cutting twice is cutting once: a prefix of a prefix
    torch.testing.assert_close(truncate(truncate(x, 8), 4), truncate(x, 4))


@pytest.mark.parametrize("dim", [0, -1, 17])
def test_a_dim_beyond_the_width_is_refused(dim: int) -> None:
    with pytest.raises(ValueError, match=f"dim is {dim}, expected 1 to 16"):
        truncate(noise(2, 16), dim)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_embeddings_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        truncate(torch.full((2, 4), value), 2)


@pytest.mark.parametrize("dims", [[], [8, 8], [4, 8], [8, 4, 5], [8, 0]])
def test_dims_that_do_not_descend_are_refused(dims: list[int]) -> None:
    with pytest.raises(ValueError, match="strictly descend"):
        check_dims(dims)
    with pytest.raises(ValueError, match="strictly descend"):
        MatryoshkaProjection(10, dims)
