"""Cross attention against an explicit softmax."""

from __future__ import annotations

import pytest
import torch

from edge_glass.fusion.cross_attention import CrossAttention, CrossAttentionConfig


def test_equals_an_explicit_softmax() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(num_heads=4, visual_width=12, width=16)
    text, visual = torch.randn(2, 3, 16), torch.randn(2, 5, 12)
    query = attention.query(attention.query_norm(text))
    key, value = attention.key_value(attention.visual_norm(visual)).split(16, dim=-1)
    parts = []
    for head in range(4):
        columns = slice(4 * head, 4 * head + 4)
        scores = query[..., columns] @ key[..., columns].mT / 4**0.5
        parts.append(scores.softmax(dim=-1) @ value[..., columns])
    expected = attention.output(torch.cat(parts, dim=-1))
    # softmax in blocks against softmax in one go, float32
    torch.testing.assert_close(attention(text, visual), expected, rtol=1e-5, atol=1e-6)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"num_heads is 3.*width 16"):
        CrossAttentionConfig(num_heads=3).build(visual_width=12, width=16)


def test_weights_give_the_attended_values() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(num_heads=1, visual_width=12, width=16)
    torch.nn.init.normal_(attention.query.weight)
    text, visual = torch.randn(2, 3, 16), torch.randn(2, 5, 12)
    weights = attention.weights(text, visual)
    _, value = attention.key_value(attention.visual_norm(visual)).split(16, dim=-1)
    # softmax in blocks against softmax in one go, float32
    torch.testing.assert_close(
        attention.output(weights @ value), attention(text, visual), rtol=1e-5, atol=1e-6
    )
    assert weights.amax(-1).min() > 0.25  # far from even, 0.2
