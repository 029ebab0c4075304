"""Attention maps against the weights of fusion and pooling."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from edge_glass.fusion.attention_map import decoder_attention, fusion_attention
from edge_glass.fusion.attention_recorder import AttentionRecorder
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel

BuildVlm = Callable[..., VisionLanguageModel]
IDS = [5, 9, 7]
QUESTION = "how many dogs are there?"


@pytest.mark.parametrize("fusion", ["cross_attention", "gated"])
def test_of_a_grid_the_map_is_the_fusion_s_attention(tiny_vlm: BuildVlm, fusion: str) -> None:
    model = tiny_vlm("trm", fusion)
    torch.manual_seed(1)
    features = torch.randn(1, 9, 24)
    torch.nn.init.normal_(model.fusion.attention.query.weight)
    found = fusion_attention(model, features, IDS)
    assert found is not None
    assert found.weights.shape == (3, 9)
    visual, words = model.visual_tokens(features), model.decoder.embed(torch.tensor([IDS]))
    expected = model.fusion.attention.weights(words, visual)[0]
    # float32: a product with the identity
    torch.testing.assert_close(found.weights, expected, atol=1e-6, rtol=1e-5)
    assert (found.weights[0] - found.weights[1]).abs().max() > 0.01  # words read different patches


def test_pooled_tokens_spread_their_share_over_their_patches(tiny_vlm: BuildVlm) -> None:
    model = tiny_vlm("trm", "cross_attention", "both")
    torch.manual_seed(1)
    features = torch.randn(1, 9, 24)
    torch.nn.init.normal_(model.visual_tokens.pooling.queries, std=3)
    found = fusion_attention(model, features, IDS)
    assert found is not None
    words = model.fusion.attention_weights(
        model.visual_tokens(features), model.decoder.embed(torch.tensor([IDS]))
    )[0]
    pooled = model.visual_tokens.pooling.attention_weights(features)[0]  # (2, 9)
    expected = torch.stack(
        [word[0] * pooled[0] + word[1] * pooled[1] + word[2:] for word in words.unbind()]
    )
    # float32, sums in a different order
    torch.testing.assert_close(found.weights, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(3), atol=1e-6, rtol=0)


def test_concat_does_not_attend_and_the_others_have_no_prefix(tiny_vlm: BuildVlm) -> None:
    features = torch.randn(1, 9, 24)
    assert fusion_attention(tiny_vlm("trm", "concat"), features, IDS) is None
    assert decoder_attention(tiny_vlm("trm", "gated"), features, QUESTION, IDS) is None


@pytest.mark.parametrize("decoder", ["trm", "qwen2_5_tiny"])
@torch.no_grad()
def test_a_decoder_s_map_has_the_rows_that_predict_the_answer(
    tiny_vlm: BuildVlm, decoder: str
) -> None:
    options = {"trm": {"width": 32, "num_heads": 2, "intermediate_dim": 64, "num_layers": 1}}
    options["trm"] |= {"num_cycles": 1, "num_latent_updates": 1}
    model = tiny_vlm(decoder, "concat", decoder_options=options.get(decoder))
    torch.manual_seed(1)
    for weight in model.decoder.parameters():
        if weight.ndim > 1:  # larger than a fresh model's, so that attention is far from even
            torch.nn.init.normal_(weight, std=0.5)
    features = torch.randn(1, 9, 24)
    found = decoder_attention(model, features, QUESTION, IDS)
    assert found is not None
    assert found.weights.shape == (3, 9)
    # float32: the sum of nine shares
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(3), atol=1e-6, rtol=0)
    assert found.weights.max() > 0.2  # an even share is 0.11

    prompt = prompt_ids(model.tokenizer, QUESTION)
    ids = torch.tensor([prompt + IDS])
    fused = model.fused(model.visual_tokens(features), ids, torch.ones_like(ids))
    with AttentionRecorder() as recorder:
        model.decoder(fused.inputs_embeds, fused.attention_mask, prefix_length=9)
    rows = recorder.mean()[0, 9 + len(prompt) - 1 : -1, :9]
    torch.testing.assert_close(found.weights, rows / rows.sum(-1, keepdim=True))

    # A later word changes no row before it: the first row needs no answer at all.
    alone = decoder_attention(model, features, QUESTION, IDS[:1])
    assert alone is not None
    # float32, rows of a shorter product
    torch.testing.assert_close(alone.weights[0], found.weights[0], atol=1e-6, rtol=1e-4)
    other = decoder_attention(model, features, QUESTION, [IDS[0], IDS[0], IDS[2]])
    assert other is not None
    torch.testing.assert_close(other.weights[:2], found.weights[:2], atol=1e-6, rtol=1e-4)
    assert (other.weights[2] - found.weights[2]).abs().max() > 1e-4
