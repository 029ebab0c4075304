"""Token scores against a pass of the whole sequence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from edge_glass.decoders.sampling import Sampling
from edge_glass.fusion.generation import stream_answer
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.token_scores import TokenScores
from edge_glass.fusion.vlm import VisionLanguageModel

QUESTION = "how many dogs are there?"


@torch.no_grad()
@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_scores_equal_those_of_one_pass_without_a_cache(
    tiny_vlm: Callable[..., VisionLanguageModel], fusion: str, temperature: float
) -> None:
    model = tiny_vlm("trm", fusion)
    torch.manual_seed(2)
    for weight in model.parameters():
        if weight.ndim > 1:  # larger than a fresh model's, so that probabilities are not even
            torch.nn.init.normal_(weight, std=0.3)
    features = torch.randn(1, 9, 24)
    sampling = Sampling(temperature=temperature, seed=3)
    scores = TokenScores(lambda ids: model.tokenizer.decode(ids, skip_special_tokens=True))
    answer = "".join(
        stream_answer(model, features, QUESTION, sampling=sampling, observe=scores.observe)
    )
    assert answer == model.answer_features(features, [QUESTION], sampling=sampling)[0]

    prompt = prompt_ids(model.tokenizer, QUESTION)
    ids = torch.tensor([prompt + scores.ids])
    fused = model.fused(model.visual_tokens(features), ids, torch.ones_like(ids))
    output = model.decoder(
        fused.inputs_embeds, fused.attention_mask, prefix_length=fused.prefix_length
    )
    logits = model.decoder.project(output.hidden_states[-1])[0]
    expected = logits[fused.prefix_length + len(prompt) - 1 : -1].softmax(-1)
    assert len(scores.scores) == len(expected) > 1
    for score, token, row in zip(scores.scores, scores.ids, expected, strict=True):
        # float32: cached against uncached attention
        assert score.probability == pytest.approx(float(row[token]), abs=1e-4)
        assert score.alternatives[0][1] == pytest.approx(float(row.max()), abs=1e-4)
        assert score.text == model.tokenizer.decode([token], skip_special_tokens=True)
        values = [value for _, value in score.alternatives]
        assert values == sorted(values, reverse=True)
    if temperature == 0:
        assert all(each.probability == each.alternatives[0][1] for each in scores.scores)
