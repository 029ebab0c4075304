"""The loss that trains, a microbatch at a time, against autograd of its definition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from edge_glass.training.align.contrastive import matryoshka_loss
from edge_glass.training.align.matryoshka import MatryoshkaTerms
from edge_glass.training.align.microbatched_loss import MicrobatchedLoss

B, E = 24, 16
DIMS, WEIGHTS = (16, 8, 4), (1.0, 2.0, 0.5)
TERMS = {
    "all dims": MatryoshkaTerms(DIMS, WEIGHTS).at(0),
    "all dims and the plain loss": MatryoshkaTerms(DIMS, WEIGHTS, contrastive_weight=0.7).at(0),
    "one drawn dim": MatryoshkaTerms(DIMS, WEIGHTS, 1, seed=2).at(3),
    "one drawn dim and the plain loss": MatryoshkaTerms(
        DIMS, WEIGHTS, 1, seed=2, matryoshka_weight=0.3, contrastive_weight=0.7
    ).at(3),
    "the plain loss alone": MatryoshkaTerms(
        DIMS, WEIGHTS, matryoshka_weight=0.0, contrastive_weight=1.0
    ).at(0),
}
ALONE, ALL = torch.arange(B), torch.ones(B, dtype=torch.bool)
GROUPS = torch.tensor([0, 1, 2, 0, 4, 5, 5, 5, 8, 9, 1, 11] * 2)
SOME = torch.tensor([True, False, True, True] * 6)
MASKS = {
    "plain": (ALONE, ALL),
    "groups": (GROUPS, ALL),
    "two numbers, images and captions": (torch.stack([GROUPS, ALONE % 7], dim=1), SOME),
    "dropped captions": (ALONE, SOME),
    "both": (GROUPS, SOME),
    "one caption is kept": (GROUPS, torch.arange(B) == 5),
    "all captions dropped": (ALONE, ~ALL),
    "one group": (torch.zeros(B, dtype=torch.long), SOME),
}


@dataclass
class Found:
    loss: Tensor
    image: Tensor
    text: Tensor
    logit_scale: Tensor


def embeddings(dtype: torch.dtype, scale: float = 2.5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    common, image, text = (
        torch.randn(B, E, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    return (
        (image + common).to(dtype).requires_grad_(),
        (3 * text + common).to(dtype).requires_grad_(),
        torch.tensor(scale, dtype=dtype, requires_grad=True),
    )


def definition(
    tensors: tuple[Tensor, Tensor, Tensor], terms: dict[int, float], masks: tuple[Tensor, Tensor]
) -> Found:
    loss = matryoshka_loss(*tensors, terms, *masks)
    return Found(loss.detach(), *torch.autograd.grad(loss, tensors))


def by_microbatches(
    tensors: tuple[Tensor, Tensor, Tensor],
    terms: dict[int, float],
    masks: tuple[Tensor, Tensor],
    num_microbatches: int,
) -> Found:
    size = B // num_microbatches
    parts = [slice(start, start + size) for start in range(0, B, size)]
    contrast = MicrobatchedLoss(*tensors, terms, *masks)
    partition = torch.cat([contrast.partition(rows) for rows in parts], dim=2)
    found = [contrast.gradients(rows, partition) for rows in parts]
    return Found(
        contrast.loss(partition),
        torch.cat([each.image for each in found]),
        torch.cat([each.text for each in found]),
        torch.stack([each.logit_scale for each in found]).sum(),
    )


@pytest.mark.parametrize("num_microbatches", [1, 2, 4, 8])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("terms", TERMS)
def test_values_and_gradients_are_those_of_the_definition(
    terms: str, masks: str, num_microbatches: int
) -> None:
    tensors = embeddings(torch.float64)
    ours = by_microbatches(tensors, TERMS[terms], MASKS[masks], num_microbatches)
    expected = definition(tensors, TERMS[terms], MASKS[masks])
    # float64, values of order 1: sums of a few hundred terms in a different order
    for name in ("loss", "image", "text", "logit_scale"):
        torch.testing.assert_close(
            getattr(ours, name), getattr(expected, name), rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize("num_microbatches", [1, 4])
def test_float32_stays_close_at_the_largest_scale(num_microbatches: int) -> None:
    terms, masks = TERMS["all dims and the plain loss"], MASKS["both"]
    single = embeddings(torch.float32, math.log(100))
    double = embeddings(torch.float64, math.log(100))
    ours = by_microbatches(single, terms, masks, num_microbatches)
    expected = definition(double, terms, masks)
    # a cosine is off by about 1e-7, a logit by 1e-5, and 4.2 is the sum of the weights
    torch.testing.assert_close(ours.loss.double(), expected.loss, rtol=0, atol=4.2e-5)
    # a probability is off by 1e-5; a gradient is the sum of probabilities times 100 / norm
    for name in ("image", "text", "logit_scale"):
        torch.testing.assert_close(
            getattr(ours, name).double(), getattr(expected, name), rtol=1e-3, atol=1e-4
        )


def test_a_zero_embedding_has_finite_gradients() -> None:
    tensors = embeddings(torch.float32)
    with torch.no_grad():
        tensors[0][3] = 0
    found = by_microbatches(tensors, TERMS["all dims"], MASKS["plain"], 4)
    assert all(each.isfinite().all() for each in (found.image, found.text, found.logit_scale))


@pytest.mark.parametrize("masks", ["plain", "both", "one group"])
def test_chance_is_the_loss_of_embeddings_that_are_all_alike(masks: str) -> None:
    alike = torch.ones(B, E, dtype=torch.float64)
    scale, terms = torch.tensor(2.5, dtype=torch.float64), TERMS["all dims"]
    expected = matryoshka_loss(alike, alike, scale, terms, *MASKS[masks])
    chance = MicrobatchedLoss(alike, alike, scale, terms, *MASKS[masks]).chance()
    torch.testing.assert_close(chance, expected, rtol=1e-12, atol=1e-14)
    if masks == "plain":
        assert chance.item() == pytest.approx(3.5 * math.log(B), rel=1e-12)


def test_narrow_embeddings_are_refused() -> None:
    image, text, scale = embeddings(torch.float64)
    with pytest.raises(ValueError, match="expected \\(batch, 16 or more\\)"):
        MicrobatchedLoss(image[:, :8], text[:, :8], scale, TERMS["all dims"], ALONE, ALL)
