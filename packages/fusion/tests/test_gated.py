"""The gate: shut at the start, opened by gradient."""

from __future__ import annotations

import torch

from edge_glass.fusion.gated import GatedConfig


def test_gate_at_zero_is_the_text_alone() -> None:
    torch.manual_seed(0)
    fusion = GatedConfig(num_heads=4).build(visual_width=12, width=16)
    text = torch.randn(2, 3, 16)
    fused = fusion(torch.randn(2, 5, 12), text)
    assert torch.equal(fused.inputs_embeds, text)
    assert fused.prefix_length == 0


def test_gradient_opens_a_shut_gate() -> None:
    torch.manual_seed(0)
    fusion = GatedConfig(num_heads=4).build(visual_width=12, width=16)
    fusion(torch.randn(2, 5, 12), torch.randn(2, 3, 16)).inputs_embeds.sum().backward()
    assert fusion.attention_gate.grad is not None
    assert fusion.attention_gate.grad.abs() > 0
    assert fusion.feed_forward_gate.grad is not None
    assert fusion.feed_forward_gate.grad.abs() > 0


def test_an_open_gate_adds_tanh_of_itself() -> None:
    torch.manual_seed(0)
    fusion = GatedConfig(num_heads=4, gate_init=0.5).build(visual_width=12, width=16)
    visual, text = torch.randn(2, 5, 12), torch.randn(2, 3, 16)
    hidden = text + torch.tensor(0.5).tanh() * fusion.attention(text, visual)
    expected = hidden + torch.tensor(0.5).tanh() * fusion.feed_forward(hidden)
    assert torch.equal(fusion.extend(visual, text), expected)
