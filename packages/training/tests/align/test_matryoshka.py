from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from edge_glass.training.align.contrastive import contrastive_loss
from edge_glass.training.align.matryoshka import MatryoshkaLoss

DIMS = [24, 16, 5, 2]
WEIGHTS = [1.0, 0.5, 2.0, 0.25]
MASKS = {
    "image_ids": torch.arange(10),
    "text_ids": torch.tensor([7, 7, 7, 3, 3, 5, 6, 8, 9, 9]),
    "keep_text": torch.tensor([True, False, True, True, True, True, False, True, True, True]),
}


def embeddings(
    dtype: torch.dtype = torch.float64, width: int = 24
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    image, text = (
        torch.randn(10, width, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2)
    )
    scale = torch.tensor(2.0, dtype=dtype)
    return image.requires_grad_(), text.requires_grad_(), scale.requires_grad_()


def weighted_sum(given: tuple[Tensor, Tensor, Tensor], terms: dict[int, float]) -> Tensor:
    """One plain contrastive loss a dim."""
    image, text, scale = given
    losses = [
        weight * contrastive_loss(image[:, :dim], text[:, :dim], scale, **MASKS)
        for dim, weight in terms.items()
    ]
    return torch.stack(losses).sum()


@pytest.mark.parametrize("width", [24, 30])
def test_one_pass_equals_one_loss_a_dim(width: int) -> None:
    given = embeddings(width=width)
    ours = MatryoshkaLoss(DIMS, WEIGHTS)(*given, **MASKS)
    theirs = weighted_sum(given, dict(zip(DIMS, WEIGHTS, strict=True)))
    # float64 on both sides: only the order of sums differs.
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(ours, given), torch.autograd.grad(theirs, given), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_float32_pass_stays_close_to_float64() -> None:
    single, double = embeddings(torch.float32), embeddings()
    ours, theirs = MatryoshkaLoss(DIMS)(*single, **MASKS), MatryoshkaLoss(DIMS)(*double, **MASKS)
    # About 1e-7 a cosine, times exp(2) and four dims.
    torch.testing.assert_close(ours.double(), theirs, rtol=5e-6, atol=0.0)
    for one, other in zip(
        torch.autograd.grad(ours, single), torch.autograd.grad(theirs, double), strict=True
    ):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


def test_slices_of_queries_add_up_to_the_whole() -> None:
    given = embeddings()
    loss = MatryoshkaLoss(DIMS, WEIGHTS, contrastive_weight=0.5)
    whole = loss(*given, **MASKS)
    summed = torch.stack(
        [loss(*given, **MASKS, query_offset=k, num_queries=5) for k in (0, 5)]
    ).sum()
    torch.testing.assert_close(summed, whole, rtol=1e-11, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(summed, given), torch.autograd.grad(whole, given), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_the_drawn_dims_mean_is_the_full_sum() -> None:
    """Over all outcomes with their probabilities: no sampling, so equal up to rounding."""
    given = embeddings()
    full = MatryoshkaLoss(DIMS, WEIGHTS, matryoshka_weight=0.7, contrastive_weight=0.3)
    drawn = MatryoshkaLoss(DIMS, WEIGHTS, 1, matryoshka_weight=0.7, contrastive_weight=0.3)
    outcomes: dict[int, Tensor] = {}
    for step in range(200):
        dim = drawn.draw(step)
        if dim not in outcomes:
            outcomes[dim] = drawn(*given, **MASKS, step=step)
    assert sorted(outcomes, reverse=True) == DIMS
    mean = sum(
        chance * outcomes[dim] for dim, chance in zip(DIMS, drawn.probabilities, strict=True)
    )
    torch.testing.assert_close(mean, full(*given, **MASKS), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(mean, weighted_sum(given, full.terms()), rtol=1e-11, atol=1e-12)


def test_draws_come_as_often_as_they_should() -> None:
    loss = MatryoshkaLoss(DIMS, [1.0, 0.5, 2.0, 0.0], 1, seed=11)
    draws = [loss.draw(step) for step in range(4000)]
    for dim, chance in zip(DIMS, loss.probabilities, strict=True):
        # Five standard deviations of a binomial share.
        assert abs(draws.count(dim) / 4000 - chance) <= 5 * math.sqrt(chance * (1 - chance) / 4000)


def test_draws_are_a_function_of_seed_and_step() -> None:
    here = [MatryoshkaLoss([4, 2, 1], None, 1, seed=9).draw(step) for step in range(20)]
    # what another process, on another day, drew
    assert here == [2, 2, 2, 1, 4, 2, 1, 2, 2, 4, 1, 2, 1, 4, 2, 2, 1, 4, 1, 1]
    assert here != [MatryoshkaLoss([4, 2, 1], None, 1, seed=10).draw(step) for step in range(20)]


def test_the_plain_loss_rides_along_at_the_largest_dim() -> None:
    assert MatryoshkaLoss([8, 4, 2], contrastive_weight=0.5).terms() == {2: 1.0, 4: 1.0, 8: 1.5}
    drawn = MatryoshkaLoss([8, 4, 2], None, 1, contrastive_weight=0.5, matryoshka_weight=2.0)
    assert drawn.terms(4) == {4: 6.0, 8: 0.5}
    assert drawn.terms(8) == {8: 6.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dims": []}, r"matryoshka_dims are \[\]"),
        ({"dims": [8, 8, 4]}, r"\[8, 8, 4\]; expected positive numbers that strictly descend"),
        ({"dims": [4, 8]}, "strictly descend"),
        ({"dims": [8, 0]}, "strictly descend"),
        ({"dims": [8, 4], "weights": [1.0]}, "found 1 matryoshka_weights for 2 dims"),
        ({"dims": [8, 4], "weights": [1.0, -1.0]}, "expected none negative"),
        ({"dims": [8, 4], "weights": [0.0, 0.0]}, "a sum above 0"),
        ({"dims": [8, 4], "n_dims_per_step": 2}, "n_dims_per_step is 2"),
        ({"dims": [8, 4], "contrastive_weight": -1.0}, "contrastive_weight -1.0"),
    ],
)
def test_wrong_settings_are_named(arguments: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MatryoshkaLoss(**arguments)


def test_wrong_calls_are_named() -> None:
    given = embeddings()
    with pytest.raises(ValueError, match="go up to 48, but the embeddings are 24 wide"):
        MatryoshkaLoss([48, 24])(*given, **MASKS)
    with pytest.raises(ValueError, match="needs the step"):
        MatryoshkaLoss(DIMS, None, 1)(*given, **MASKS)
