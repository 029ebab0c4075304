from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_glass.training.align.contrastive import contrastive_loss


def batch(rows: int = 12, width: int = 24, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    text = torch.randn(rows, width, generator=generator, dtype=torch.float64) * 3 + image
    return {
        "image": image.to(dtype).requires_grad_(),
        "text": text.to(dtype).requires_grad_(),
        "logit_scale": torch.tensor(2.5, dtype=dtype, requires_grad=True),
        "image_ids": torch.arange(rows),
        "text_ids": torch.arange(rows) + 100,
    }


def reference(
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor,
    image_ids: Tensor,
    text_ids: Tensor,
    keep_text: Tensor | None = None,
) -> Tensor:
    """The definition, row by row in plain autograd."""
    rows = len(image)
    kept = [i for i in range(rows) if keep_text is None or keep_text[i]]
    cosines = (
        torch.nn.functional.normalize(image, dim=1) @ torch.nn.functional.normalize(text, dim=1).T
    )
    logits = cosines * logit_scale.exp()
    total = logits.sum() * 0
    for i in kept:

        def negative(j: int, i: int = i) -> bool:
            return bool(image_ids[i] != image_ids[j] and text_ids[i] != text_ids[j])

        texts = [j for j in kept if j == i or negative(j)]
        images = [j for j in range(rows) if j == i or negative(j)]
        total = total + 0.5 * (logits[i, texts].logsumexp(0) - logits[i, i])
        total = total + 0.5 * (logits[images, i].logsumexp(0) - logits[i, i])
    return total / max(len(kept), 1)


def gradients(loss: Tensor, given: dict[str, Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [given["image"], given["text"], given["logit_scale"]]))


CASES = {
    "plain": {},
    "a picture twice": {"image_ids": torch.tensor([0, 1, 2, 0, 4, 5, 6, 0, 8, 9, 10, 11])},
    "many pictures a caption": {"text_ids": torch.tensor([7, 7, 7, 3, 3, 5, 6, 7, 8, 9, 9, 9])},
    "captions dropped": {"keep_text": torch.tensor([True, False] * 5 + [True, True])},
    "both": {
        "text_ids": torch.tensor([7, 7, 7, 3, 3, 5, 6, 7, 8, 9, 9, 9]),
        "keep_text": torch.tensor([True, False, True] * 4),
    },
    "no negative is left": {"text_ids": torch.zeros(12, dtype=torch.long)},
    "all captions dropped": {"keep_text": torch.zeros(12, dtype=torch.bool)},
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_definition_and_its_gradient(case: str) -> None:
    given = batch(dtype=torch.float64) | CASES[case]
    ours, theirs = contrastive_loss(**given), reference(**given)
    # float64 on both sides: only the order of sums differs.
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
    for one, other in zip(gradients(ours, given), gradients(theirs, given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_float32_agrees_with_float64_at_the_largest_scale() -> None:
    single, double = batch(), batch(dtype=torch.float64)
    for given in (single, double):
        with torch.no_grad():
            given["logit_scale"].fill_(torch.tensor(100.0).log())
    ours, theirs = contrastive_loss(**single), reference(**double)
    # A cosine is off by about 1e-7 and multiplied by 100: 1e-5 in the logit.
    torch.testing.assert_close(ours.double(), theirs, rtol=2e-5, atol=2e-5)
    for one, other in zip(gradients(ours, single), gradients(theirs, double), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-4)


def test_half_precision_is_computed_in_float32() -> None:
    given = batch()
    low = given | {
        name: given[name].detach().bfloat16().requires_grad_() for name in ("image", "text")
    }
    rounded = given | {name: low[name].detach().float() for name in ("image", "text")}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive_loss(**low)
    assert loss.dtype == torch.float32
    assert loss.item() == contrastive_loss(**rounded).item()
    loss.backward()
    assert low["image"].grad is not None
    assert low["image"].grad.dtype == torch.bfloat16


@pytest.mark.parametrize("keep", [None, torch.tensor([True, False, True] * 4)])
def test_slices_of_queries_add_up_to_the_whole(keep: Tensor | None) -> None:
    given = batch(dtype=torch.float64) | {
        "text_ids": torch.tensor([7, 7, 7, 3, 3, 5, 6, 7, 8, 9, 9, 9])
    }
    whole = contrastive_loss(**given, keep_text=keep)
    parts = [
        contrastive_loss(**given, keep_text=keep, query_offset=start, num_queries=size)
        for start, size in ((0, 5), (5, 4), (9, 3))
    ]
    summed = parts[0] + parts[1] + parts[2]
    torch.testing.assert_close(summed, whole, rtol=1e-11, atol=1e-12)
    for one, other in zip(gradients(summed, given), gradients(whole, given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_equal_dropped_captions_are_not_each_others_negatives() -> None:
    """Two empty captions in a batch would be false negatives: dropped, they must not matter."""
    given = batch(dtype=torch.float64)
    keep = torch.ones(12, dtype=torch.bool)
    keep[[2, 7]] = False
    before = contrastive_loss(**given, keep_text=keep)
    changed = given["text"].detach().clone()
    changed[[2, 7]] = changed[0].clone()
    after = contrastive_loss(**(given | {"text": changed}), keep_text=keep)
    assert after.item() == before.item()
    assert gradients(before, given)[1][[2, 7]].abs().max() == 0


def test_uninformative_embeddings_sit_at_the_logarithm_of_the_batch() -> None:
    same = torch.ones(64, 8)
    ids = torch.arange(64)
    loss = contrastive_loss(same, same, torch.tensor(4.0), ids, ids)
    torch.testing.assert_close(loss, torch.tensor(64.0).log(), rtol=1e-6, atol=0.0)


def test_a_zero_embedding_has_finite_gradients() -> None:
    given = batch()
    with torch.no_grad():
        given["image"][3] = 0
    loss = contrastive_loss(**given)
    assert all(gradient.isfinite().all() for gradient in gradients(loss, given))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": torch.zeros(12, 23)}, r"\(12, 24\) and text \(12, 23\)"),
        ({"image_ids": torch.zeros(11)}, r"image_ids has shape \(11,\); expected \(12,\)"),
        ({"keep_text": torch.ones(12, 1)}, r"keep_text has shape \(12, 1\)"),
        ({"query_offset": 8, "num_queries": 5}, "queries 8 to 13 lie outside of a batch of 12"),
        ({"query_offset": 12}, "queries 12 to 12 lie outside"),
    ],
)
def test_disagreeing_inputs_are_named(change: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contrastive_loss(**(batch() | change))
