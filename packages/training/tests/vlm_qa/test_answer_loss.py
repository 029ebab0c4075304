from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edge_glass.fusion.prompt import IGNORED
from edge_glass.training.vlm_qa.answer_loss import causal_lm_loss


def example() -> tuple[nn.Linear, list[Tensor], Tensor]:
    torch.manual_seed(0)
    hidden = [torch.randn(3, 7, 8, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    labels = torch.randint(0, 11, (3, 7))
    labels[:, :3] = IGNORED
    labels[0, 5:] = IGNORED
    labels[2] = IGNORED
    return nn.Linear(8, 11, dtype=torch.float64), hidden, labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_cross_entropy_over_all_positions(smoothing: float) -> None:
    head, hidden, labels = example()
    total, count = causal_lm_loss(head, hidden, labels, label_smoothing=smoothing)
    whole = [
        nn.functional.cross_entropy(
            head(one)[:, :-1].flatten(0, 1).float(),
            labels[:, 1:].flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=smoothing,
        )
        for one in hidden
    ]
    assert count == 6
    assert total.dtype == torch.float32
    # float32 sums in another order.
    torch.testing.assert_close(total, (whole[0] + whole[1]) / 2, rtol=1e-6, atol=0.0)
    inputs = [*hidden, head.weight]
    ours = torch.autograd.grad(total, inputs)
    theirs = torch.autograd.grad((whole[0] + whole[1]) / 2, inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_only_labelled_positions_are_projected() -> None:
    head, hidden, labels = example()
    projected: list[tuple[int, ...]] = []

    def project(selected: Tensor) -> Tensor:
        projected.append(tuple(selected.shape))
        return head(selected)

    total, _ = causal_lm_loss(project, hidden, labels)
    total.backward()
    assert projected == [(6, 8), (6, 8)]
    labelled = torch.zeros(3, 7, dtype=torch.bool)
    labelled[:, :-1] = labels[:, 1:] != IGNORED  # the position before a label predicts it
    assert hidden[0].grad is not None
    assert torch.equal(hidden[0].grad.abs().sum(-1) > 0, labelled)


def test_no_labelled_token_gives_zero_with_a_graph() -> None:
    head, hidden, _ = example()
    total, count = causal_lm_loss(head, hidden, torch.full((3, 7), IGNORED))
    total.backward()
    assert (total.item(), count) == (0.0, 0)
    assert head.weight.grad is not None
    assert head.weight.grad.abs().max() == 0
    assert hidden[1].grad is not None
    assert hidden[1].grad.abs().max() == 0


def test_micro_batches_add_up() -> None:
    head, hidden, labels = example()
    whole, count = causal_lm_loss(head, hidden, labels)
    parts = [
        causal_lm_loss(head, [one[k : k + 1] for one in hidden], labels[k : k + 1])
        for k in range(3)
    ]
    assert sum(part[1] for part in parts) == count
    # float32 sums in another order.
    torch.testing.assert_close(
        torch.stack([part[0] for part in parts]).sum(), whole, rtol=1e-6, atol=0.0
    )


def test_disagreeing_shapes_are_named() -> None:
    head, hidden, labels = example()
    with pytest.raises(ValueError, match=r"\(3, 7, 8\) do not match labels \(3, 6\)"):
        causal_lm_loss(head, hidden, labels[:, 1:])
    with pytest.raises(ValueError, match="no hidden states"):
        causal_lm_loss(head, [], labels)


@pytest.mark.parametrize("chunk", [1, 4, 6])
def test_chunks_have_the_loss_and_the_gradients_of_the_whole(chunk: int) -> None:
    head, hidden, labels = example()
    inputs = [*hidden, head.weight]
    sizes: list[int] = []

    def project(selected: Tensor) -> Tensor:
        sizes.append(len(selected))
        return head(selected)

    whole, _ = causal_lm_loss(head, hidden, labels)
    total, count = causal_lm_loss(project, hidden, labels, chunk=chunk)
    assert count == 6
    assert max(sizes) == chunk
    # float32 sums in a different order
    torch.testing.assert_close(total, whole, rtol=1e-6, atol=0.0)
    expected = torch.autograd.grad(whole, inputs)
    for one, other in zip(torch.autograd.grad(total, inputs), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
