"""Three fusions, two precisions: a training step and a cached answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from edge_glass.fusion.compute import compute_dtype
from edge_glass.fusion.generation import stream_answer
from edge_glass.fusion.prompt import IGNORED, example_ids
from edge_glass.fusion.vlm import VisionLanguageModel

QUESTIONS = ["how many dogs are there?", "where is the cat?"]


def loss_of(model: VisionLanguageModel, features: torch.Tensor) -> torch.Tensor:
    ids, labels = example_ids(model.tokenizer, QUESTIONS[0], "two")
    rows = [torch.tensor([each] * len(features)) for each in (ids, [0] * len(ids), labels)]
    with model.autocast():
        output = model(features, *rows)
        logits = model.decoder.project(output.hidden_states[-1][:, :-1])
    return torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), output.labels[:, 1:].flatten(), ignore_index=IGNORED
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("fusion", ["concat", "cross_attention", "gated"])
def test_a_fusion_trains_and_answers_in_the_precision_of_the_decoder(
    tiny_vlm: Callable[..., VisionLanguageModel], fusion: str, dtype: str
) -> None:
    model = tiny_vlm("qwen2_5_tiny", fusion, dtype=dtype)
    features = torch.randn(2, 9, 24)
    answers = model.answer_features(features, QUESTIONS)
    alone = [model.answer_features(features[at : at + 1], [QUESTIONS[at]])[0] for at in (0, 1)]
    if dtype == "float32":  # in bfloat16 the best two words may tie
        assert answers == alone
    assert any(answers)
    assert any(alone)

    model.train()
    loss = loss_of(model, features)
    loss.backward()
    for name, each in model.named_parameters():
        assert each.grad is not None, name
        assert each.grad.dtype == each.dtype, name
        assert each.grad.isfinite().all(), name
    assert all(each.dtype == torch.float32 for each in model.fusion.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(5):
        optimizer.step()
        optimizer.zero_grad()
        later = loss_of(model, features)
        later.backward()
    assert later < 0.9 * loss


def test_both_precisions_compute_nearly_the_same(
    tiny_vlm: Callable[..., VisionLanguageModel],
) -> None:
    losses = []
    for dtype in ("float32", "bfloat16"):
        model = tiny_vlm("qwen2_5_tiny", "gated", dtype=dtype)
        torch.manual_seed(1)
        losses.append(loss_of(model, torch.randn(2, 9, 24)))
    assert losses[0] != losses[1]
    # bfloat16 has eight bits; two layers, random weights
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.0)


def test_a_gpu_computes_in_bfloat16_and_a_cpu_as_the_decoder() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert compute_dtype(cuda, torch.float32) == torch.bfloat16
    assert compute_dtype(cpu, torch.float32) == torch.float32
    assert compute_dtype(cpu, torch.bfloat16) == torch.bfloat16


def test_a_streamed_answer_is_computed_in_the_same_precision(
    tiny_vlm: Callable[..., VisionLanguageModel],
) -> None:
    model = tiny_vlm("qwen2_5_tiny", "gated", dtype="bfloat16")
    features = torch.randn(1, 9, 24)
    pieces = []
    for piece in stream_answer(model, features, QUESTIONS[0]):
        assert not torch.is_autocast_enabled("cpu")  # the caller's own precision stays
        pieces.append(piece)
    assert "".join(pieces) == model.answer_features(features, QUESTIONS[:1])[0]
    assert pieces
