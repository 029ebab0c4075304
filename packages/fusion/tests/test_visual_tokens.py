from __future__ import annotations

import torch

from edge_glass.fusion.visual_tokens import ChannelNorm, VisualTokens, VisualTokensConfig


def test_channels_are_centred_and_layers_have_equal_shares() -> None:
    torch.manual_seed(0)
    scale = torch.tensor([5.0, 5.0, *[0.1] * 6])
    tokens = torch.randn(4000, 8) * scale + 3.0
    norm = ChannelNorm(8)
    norm.fit(tokens, (2, 6))
    found = norm(tokens)
    # the numbers have the 8 bits of bfloat16: 3 is one of them, the others are off by up to 0.4 %
    assert found.mean(dim=0).abs().max() < 0.5
    variance = found.var(dim=0)
    assert variance[:2].sum() > 2 * variance[2:].sum()  # weak channels are not blown up
    equal = torch.randn(4000, 8) + 3.0
    norm.fit(equal, (2, 6))
    first, second = norm(equal).var(dim=0).split((2, 6))
    torch.testing.assert_close(first.sum(), second.sum(), rtol=0.02, atol=0.0)


def test_equal_images_give_finite_numbers() -> None:
    norm = ChannelNorm(4)
    tokens = torch.full((3, 4), 2.0)
    norm.fit(tokens, (4,))
    assert torch.equal(norm(tokens), torch.zeros(3, 4))


def test_the_order_of_the_tokens_does_not_change_a_bit() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(1000, 8)
    norms = ChannelNorm(8), ChannelNorm(8)
    norms[0].fit(tokens, (8,))
    norms[1].fit(tokens[torch.randperm(1000)], (8,))
    assert torch.equal(norms[0].mean, norms[1].mean)
    assert torch.equal(norms[0].scale, norms[1].scale)


def test_the_numbers_are_saved_with_the_model() -> None:
    config = VisualTokensConfig(width=6, norm="channel")
    first, second = (
        VisualTokens(config, input_width=8, grid=(1, 2), pooling=None) for _ in range(2)
    )
    assert first.grid_tokens is not None
    assert isinstance(first.grid_tokens.norm, ChannelNorm)
    first.grid_tokens.norm.fit(torch.randn(100, 8) * 7, (8,))
    second.load_state_dict(first.state_dict(), strict=True)
    features = torch.randn(3, 2, 8)
    assert torch.equal(first(features), second(features))
