"""Attention maps against the weights of fusion and pooling."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from edge_glass.fusion.attention_map import word_attention
from edge_glass.fusion.vlm import VisionLanguageModel

BuildVlm = Callable[..., VisionLanguageModel]
IDS = [5, 9, 7]


@pytest.mark.parametrize("fusion", ["cross_attention", "gated"])
def test_of_a_grid_the_map_is_the_fusion_s_attention(tiny_vlm: BuildVlm, fusion: str) -> None:
    model = tiny_vlm("trm", fusion)
    torch.manual_seed(1)
    features = torch.randn(1, 9, 24)
    torch.nn.init.normal_(model.fusion.attention.query.weight)
    found = word_attention(model, features, IDS)
    assert found is not None
    assert found.shape == (3, 9)
    visual, words = model.visual_tokens(features), model.decoder.embed(torch.tensor([IDS]))
    expected = model.fusion.attention.weights(words, visual)[0]
    # float32: a product with the identity
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert (found[0] - found[1]).abs().max() > 0.01  # words read different patches


def test_pooled_tokens_spread_their_share_over_their_patches(tiny_vlm: BuildVlm) -> None:
    model = tiny_vlm("trm", "cross_attention", "both")
    torch.manual_seed(1)
    features = torch.randn(1, 9, 24)
    torch.nn.init.normal_(model.visual_tokens.pooling.queries, std=3)
    found = word_attention(model, features, IDS)
    assert found is not None
    words = model.fusion.attention_weights(
        model.visual_tokens(features), model.decoder.embed(torch.tensor([IDS]))
    )[0]
    pooled = model.visual_tokens.pooling.attention_weights(features)[0]  # (2, 9)
    expected = torch.stack(
        [word[0] * pooled[0] + word[1] * pooled[1] + word[2:] for word in words.unbind()]
    )
    # float32, sums in a different order
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.sum(-1), torch.ones(3), atol=1e-6, rtol=0)


def test_concat_does_not_attend(tiny_vlm: BuildVlm) -> None:
    assert word_attention(tiny_vlm("trm", "concat"), torch.randn(1, 9, 24), IDS) is None
