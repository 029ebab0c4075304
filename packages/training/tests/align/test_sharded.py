"""The loss a shard at a time against the loss in one piece."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from edge_glass.training.align.matryoshka import MatryoshkaLoss
from edge_glass.training.align.sharded import ContrastiveShards

B, E = 24, 16
OBJECTIVE = MatryoshkaLoss((16, 8, 4), (1.0, 2.0, 0.5), contrastive_weight=0.7)


def batch(*, distinct: bool = False) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    image, text = (torch.randn(B, E, dtype=torch.float64, requires_grad=True) for _ in range(2))
    scale = torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    image_ids = torch.arange(B) if distinct else torch.randint(0, 12, (B,))
    text_ids = torch.arange(B) if distinct else torch.randint(0, 14, (B,))
    keep = torch.ones(B, dtype=torch.bool) if distinct else torch.rand(B) > 0.3
    return image, text, scale, image_ids, text_ids, keep


def shards_of(tensors: tuple[Tensor, ...], size: int) -> tuple[ContrastiveShards, list[slice]]:
    image, text, scale, image_ids, text_ids, keep = tensors
    contrast = ContrastiveShards(image, text, scale, OBJECTIVE.terms(), image_ids, text_ids, keep)
    return contrast, [slice(start, start + size) for start in range(0, B, size)]


@pytest.mark.parametrize("size", [24, 12, 6, 1])
def test_shards_add_up_to_autograd_of_the_whole(size: int) -> None:
    tensors = batch()
    image, text, scale, image_ids, text_ids, keep = tensors
    whole = OBJECTIVE(image, text, scale, image_ids, text_ids, keep)
    expected = torch.autograd.grad(whole, [image, text, scale])
    contrast, parts = shards_of(tensors, size)
    partition = torch.cat([contrast.partition(rows) for rows in parts], dim=2)
    found = [contrast.gradients(rows, partition) for rows in parts]
    # float64, values of order 1: sums of a few hundred terms in another order
    close = {"rtol": 1e-12, "atol": 1e-13}
    torch.testing.assert_close(contrast.loss(partition), whole.detach(), **close)
    torch.testing.assert_close(torch.cat([each.image for each in found]), expected[0], **close)
    torch.testing.assert_close(torch.cat([each.text for each in found]), expected[1], **close)
    total = torch.stack([each.logit_scale for each in found]).sum()
    torch.testing.assert_close(total, expected[2], rtol=1e-12, atol=1e-12)


def test_chance_is_the_loss_of_embeddings_that_are_all_alike() -> None:
    tensors = batch()
    _, _, scale, image_ids, text_ids, keep = tensors
    alike = torch.ones(B, E, dtype=torch.float64)
    contrast, _ = shards_of(tensors, B)
    expected = OBJECTIVE(alike, alike, scale, image_ids, text_ids, keep)
    torch.testing.assert_close(contrast.chance(), expected.detach(), rtol=1e-12, atol=0)


def test_chance_of_distinct_rows_is_ln_of_the_batch() -> None:
    contrast, _ = shards_of(batch(distinct=True), B)
    weights = sum(OBJECTIVE.terms().values())
    assert contrast.chance().item() == pytest.approx(weights * math.log(B), rel=1e-12)


def test_narrow_embeddings_are_refused() -> None:
    image, text, scale, image_ids, text_ids, keep = batch()
    with pytest.raises(ValueError, match="expected \\(batch, 16 or more\\)"):
        ContrastiveShards(
            image[:, :8], text[:, :8], scale, OBJECTIVE.terms(), image_ids, text_ids, keep
        )
