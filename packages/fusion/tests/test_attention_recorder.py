"""Recorded attention weights against the results of the fused kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from edge_glass.fusion.attention_recorder import AttentionRecorder

ADDED = torch.zeros(2, 1, 5, 5).masked_fill(torch.ones(5, 5).triu(2).bool(), -1e9)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"attn_mask": torch.ones(5, 5).tril(1).bool()},
        {"attn_mask": ADDED},
        {"scale": 0.7},
        {"enable_gqa": True},
    ],
    ids=["plain", "causal", "bool", "added", "scale", "groups"],
)
def test_weights_times_values_are_the_kernel_s_result(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    groups = 1 if "enable_gqa" in options else 2
    # of equal values in both heads, so that the mean over the heads gives the mean result
    value = torch.randn(2, 1, 5, 4).expand(-1, groups, -1, -1)
    query, key = torch.randn(2, 2, 5, 4) * 3, torch.randn(2, groups, 5, 4)
    with AttentionRecorder() as recorder:
        first = F.scaled_dot_product_attention(query, key, value, **options)
        second = F.scaled_dot_product_attention(-query, key, value, **options)
    expected = torch.cat((first, second), dim=1).mean(dim=1)
    # softmax in blocks against softmax in one go, float32
    torch.testing.assert_close(recorder.mean() @ value[:, 0], expected, atol=1e-5, rtol=1e-5)
    assert recorder.mean().shape == (2, 5, 5)
