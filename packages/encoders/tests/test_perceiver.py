"""The Perceiver resampler against its layers written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_glass.encoders.perceiver import Attention, PerceiverConfig, PerceiverResampler

GRID = (2, 3)


def build(seed: int = 0, **options: object) -> PerceiverResampler:
    fields = {"num_latents": 3, "width": 16, "num_heads": 4, "num_layers": 2, **options}
    torch.manual_seed(seed)
    return PerceiverConfig(**fields).build(20, GRID)


def scramble(module: nn.Module) -> None:
    """Gives every weight a value that shows, the zeros of a fresh resampler too."""
    torch.manual_seed(11)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


def features(batch: int = 2) -> Tensor:
    return torch.randn(batch, 6, 20, generator=torch.Generator().manual_seed(3))


def reference_attention(module: Attention, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    linears = (module.query, module.key, module.value)
    attended, _ = F.multi_head_attention_forward(
        *(t.transpose(0, 1) for t in (x, keys, values)),
        embed_dim_to_check=16,
        num_heads=4,
        in_proj_weight=torch.cat([linear.weight for linear in linears]),
        in_proj_bias=torch.cat([linear.bias for linear in linears]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=module.output.weight,
        out_proj_bias=module.output.bias,
    )
    return attended.transpose(0, 1)


def test_a_layer_is_cross_attention_self_attention_and_feed_forward() -> None:
    resampler = build(num_layers=2).eval()
    scramble(resampler)
    inputs = resampler.input_projection(resampler.input_norm(features()))
    x = resampler.latents.expand(2, -1, -1)
    for layer in resampler.layers:
        values = layer.input_norm(inputs)
        keys = values + resampler.positions
        normed = layer.latent_norm(x)
        x = x + reference_attention(layer.cross_attention, normed, keys, values)
        normed = layer.self_norm(x)
        attended = reference_attention(layer.self_attention, normed, normed, normed)
        x = x + layer.self_scale * attended
        hidden = F.gelu(layer.feed_forward_in(layer.feed_forward_norm(x)))
        x = x + layer.feed_forward_out(hidden)
    expected = resampler.output_norm(x)
    assert resampler(features()).shape == (2, 3, 16)
    # float32 through two layers, sums in a different order
    torch.testing.assert_close(resampler(features()), expected, atol=1e-4, rtol=1e-4)


def test_without_a_bottleneck_a_fresh_resampler_averages_the_features() -> None:
    resampler = build(width=None, key_dim=8, num_layers=2, feed_forward_ratio=0.25).eval()
    for layer in resampler.layers:
        nn.init.zeros_(layer.cross_attention.query.weight)
        nn.init.zeros_(layer.cross_attention.query.bias)  # no place is preferred
    mean = F.layer_norm(F.layer_norm(features(), (20,)), (20,)).mean(dim=1, keepdim=True)
    expected = F.layer_norm(resampler.latents + 2 * mean, (20,))
    assert resampler.width == 20
    assert resampler.layers[0].feed_forward_in.out_features == 5
    # float32, sums of six numbers in a different order
    torch.testing.assert_close(resampler(features()), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="width is 20, expected a multiple of num_heads, 3"):
        build(width=None, num_heads=3)


def test_latents_and_inputs_have_norms_of_their_own() -> None:
    layer = build().layers[0]
    assert layer.latent_norm is not layer.input_norm
    assert layer.latent_norm.weight is not layer.input_norm.weight


def test_without_positions_the_order_of_patches_does_not_matter() -> None:
    shuffled = features()[:, [3, 1, 5, 0, 2, 4]]
    for positions in (False, True):
        resampler = build(positions=positions)
        scramble(resampler)
        difference = (resampler(features()) - resampler(shuffled)).abs().max()
        assert difference > 1e-3 if positions else difference < 1e-5


def test_every_patch_and_every_latent_reaches_every_token() -> None:
    resampler, x = build(), features().requires_grad_()
    scramble(resampler)
    weights = torch.randn(16, generator=torch.Generator().manual_seed(5))
    for token in range(3):
        value = (resampler(x)[0, token] * weights).sum()
        grad, latents = torch.autograd.grad(value, (x, resampler.latents))
        assert (grad[0].abs().sum(-1) > 0).all()
        assert not grad[1].any()
        assert (latents.abs().sum(-1) > 0).all()


def test_it_learns_from_its_own_start() -> None:
    """One patch of six is marked by one number; a linear head must find it."""
    resampler = build(width=32)
    head = nn.Linear(3 * 32, 6)
    optimizer = torch.optim.AdamW([*resampler.parameters(), *head.parameters()], lr=3e-3)
    generator = torch.Generator().manual_seed(0)

    def batch(size: int) -> tuple[Tensor, Tensor]:
        places = torch.randint(6, (size,), generator=generator)
        x = torch.randn(size, 6, 20, generator=generator)
        x[torch.arange(size), places, 0] += 8
        return x, places

    for _ in range(150):
        x, places = batch(64)
        loss = F.cross_entropy(head(resampler(x).flatten(1)), places)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, places = batch(500)
    accuracy = (head(resampler(x).flatten(1)).argmax(1) == places).float().mean()
    assert accuracy > 0.9  # chance is 0.17; a resampler that can not tell patches apart stays there


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = build(7).state_dict(), build(7).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_features_of_a_different_encoder_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 6, 20\)"):
        build()(torch.zeros(2, 7, 20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 5}, "multiple of num_heads, 5"),
        ({"num_layers": 0}, "num_layers is 0, expected a number from 1 to 1000"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_bad_fields_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_attention_weights_are_those_of_the_last_layer() -> None:
    resampler = build(width=None, num_heads=1, num_layers=2)
    scramble(resampler)
    read: list[tuple[Tensor, ...]] = []
    last = resampler.layers[-1].cross_attention
    last.register_forward_hook(lambda _module, inputs, output: read.append((*inputs, output)))
    resampler(features())
    _, _, values, attended = read[0]
    weights = resampler.attention_weights(features())
    # without a bottleneck a latent receives the weighted mean of the values; float32
    torch.testing.assert_close(weights @ values, attended, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3), atol=1e-6, rtol=0)
    assert (weights.amax(-1) - 1 / 6).min() > 0.01  # far from even
