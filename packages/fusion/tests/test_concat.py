"""Concat fusion against its formula, and the contract that all fusions share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from edge_glass.fusion.base import Fusion
from edge_glass.fusion.concat import ConcatConfig
from edge_glass.fusion.tables import FUSIONS

VISUAL, WIDTH = 12, 16


def build(name: str) -> Fusion:
    torch.manual_seed(0)
    config = FUSIONS[name]()
    if name == "gated":
        config = FUSIONS[name](gate_init=0.7)
    fusion: Fusion = config.build(visual_width=VISUAL, width=WIDTH)
    return fusion.eval()


def inputs(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(3, 5, VISUAL, generator=generator),
        torch.randn(3, 7, WIDTH, generator=generator),
    )


def test_prefix_is_the_projector_and_text_is_untouched() -> None:
    fusion = ConcatConfig(hidden_dim=20).build(visual_width=VISUAL, width=WIDTH).eval()
    visual, text = inputs()
    fused = fusion(visual, text)
    norm, first, _, _, second, last = fusion.projector
    hidden = gelu(first(layer_norm(visual, (VISUAL,), norm.weight, norm.bias)))
    expected = layer_norm(second(hidden), (WIDTH,), last.weight, last.bias)
    # the same operations in the same order: only fused kernels may differ in the last bits
    torch.testing.assert_close(fused.inputs_embeds[:, :5], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(fused.inputs_embeds[:, 5:], text)
    assert fused.prefix_length == 5


@pytest.mark.parametrize("name", FUSIONS)
def test_mask_and_shapes(name: str) -> None:
    fusion = build(name)
    visual, text = inputs()
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1] * 7, [1, 1, 1, 0, 0, 0, 0]])
    fused = fusion(visual, text, mask)
    length = fused.prefix_length + 7
    assert fused.inputs_embeds.shape == (3, length, WIDTH)
    assert fused.attention_mask.shape == (3, length)
    assert torch.equal(fused.attention_mask[:, fused.prefix_length :], mask)
    assert bool((fused.attention_mask[:, : fused.prefix_length] == 1).all())


@pytest.mark.parametrize("name", FUSIONS)
def test_word_by_word_equals_the_whole_text(name: str) -> None:
    fusion = build(name)
    visual, text = inputs()
    whole = fusion.extend(visual, text)
    single = torch.cat([fusion.extend(visual, text[:, at : at + 1]) for at in range(7)], dim=1)
    # matrix kernels add in a different order for a different number of rows
    torch.testing.assert_close(single, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FUSIONS)
def test_every_visual_token_and_every_parameter_counts(name: str) -> None:
    fusion = build(name)
    visual, text = inputs()
    visual.requires_grad_()
    weights = torch.randn(3, 64, WIDTH, generator=torch.Generator().manual_seed(2))
    fused = fusion(visual, text)
    (fused.inputs_embeds * weights[:, : fused.inputs_embeds.shape[1]]).sum().backward()
    assert visual.grad is not None
    assert bool((visual.grad.abs().sum(dim=-1) > 0).all())
    for key, parameter in fusion.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", FUSIONS)
def test_wrong_widths_are_named(name: str) -> None:
    fusion = build(name)
    visual, text = inputs()
    with pytest.raises(ValueError, match=r"11 wide.*built for 12"):
        fusion(visual[..., :11], text)
    with pytest.raises(ValueError, match=r"expected \(3, T, 16\)"):
        fusion(visual, text[..., :8])
    with pytest.raises(ValueError, match=r"expected \(3, T, 16\)"):
        fusion(visual, text[:2])
