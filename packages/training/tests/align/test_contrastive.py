"""The loss's definition against loops over rows, and its behaviour in special cases."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_glass.training.align.contrastive import contrastive_loss, matryoshka_loss


def batch(rows: int = 12, width: int = 24) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    text = torch.randn(rows, width, generator=generator, dtype=torch.float64) * 3 + image
    return {
        "image": image.requires_grad_(),
        "text": text.requires_grad_(),
        "logit_scale": torch.tensor(2.5, dtype=torch.float64, requires_grad=True),
        "groups": torch.arange(rows),
        "keep_text": torch.ones(rows, dtype=torch.bool),
    }


def by_loops(
    image: Tensor, text: Tensor, logit_scale: Tensor, groups: Tensor, keep_text: Tensor
) -> Tensor:
    """Each row's candidates are listed, so that nothing is masked."""
    rows = len(image)
    kept = [i for i in range(rows) if keep_text[i]]
    total = (image.sum() + text.sum() + logit_scale) * 0
    for i in kept:
        texts = [j for j in kept if j == i or (groups[j] != groups[i]).all()]
        images = [j for j in range(rows) if j == i or (groups[j] != groups[i]).all()]
        for query, candidates, positive in (
            (image[i], text[texts], texts.index(i)),
            (text[i], image[images], images.index(i)),
        ):
            cosines = torch.nn.functional.cosine_similarity(query[None], candidates)
            chances = (cosines * logit_scale.exp()).softmax(dim=0)
            total = total - 0.5 * chances[positive].log()
    return total / max(len(kept), 1)


def gradients(loss: Tensor, given: dict[str, Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [given["image"], given["text"], given["logit_scale"]]))


CASES = {
    "plain": {},
    "groups": {"groups": torch.tensor([7, 7, 7, 3, 3, 5, 6, 7, 8, 9, 9, 9])},
    "two numbers, images and captions": {
        "groups": torch.tensor([[0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 5, 5, 1, 2, 3] * 2]).T
    },
    "dropped captions": {"keep_text": torch.tensor([True, False] * 5 + [True, True])},
    "both": {
        "groups": torch.tensor([7, 7, 7, 3, 3, 5, 6, 7, 8, 9, 9, 9]),
        "keep_text": torch.tensor([True, False, True] * 4),
    },
    "no negative is left": {"groups": torch.zeros(12, dtype=torch.long)},
    "all captions dropped": {"keep_text": torch.zeros(12, dtype=torch.bool)},
}


@pytest.mark.parametrize("case", CASES)
def test_the_definition_equals_loops_over_rows(case: str) -> None:
    given = batch() | CASES[case]
    ours, theirs = contrastive_loss(**given), by_loops(**given)
    # float64 on both sides: only the order of sums differs
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
    for one, other in zip(gradients(ours, given), gradients(theirs, given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_matryoshka_is_the_weighted_sum_over_the_first_numbers() -> None:
    given = batch() | CASES["both"]
    image, text = given.pop("image"), given.pop("text")
    loss = matryoshka_loss(image, text, terms={4: 0.5, 16: 2.0}, **given)
    expected = 0.5 * by_loops(image[:, :4], text[:, :4], **given)
    expected = expected + 2.0 * by_loops(image[:, :16], text[:, :16], **given)
    torch.testing.assert_close(loss, expected, rtol=1e-11, atol=1e-12)


def test_equal_dropped_captions_are_not_each_others_negatives() -> None:
    """Two empty captions in a batch would be false negatives: dropped, they must not matter."""
    given = batch()
    given["keep_text"][[2, 7]] = False
    before = contrastive_loss(**given)
    changed = given["text"].detach().clone()
    changed[[2, 7]] = changed[0].clone()
    after = contrastive_loss(**(given | {"text": changed}))
    assert after.item() == before.item()
    assert gradients(before, given)[1][[2, 7]].abs().max() == 0


def test_uninformative_embeddings_sit_at_the_logarithm_of_the_batch() -> None:
    same, keep = torch.ones(64, 8), torch.ones(64, dtype=torch.bool)
    loss = contrastive_loss(same, same, torch.tensor(4.0), torch.arange(64), keep)
    torch.testing.assert_close(loss, torch.tensor(64.0).log(), rtol=1e-6, atol=0.0)
