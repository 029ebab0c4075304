from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from edge_glass.decoders.trm import TinyRecursiveConfig, TinyRecursiveDecoder
from tiny_trm import TOLERANCE, VARIANTS, VOCAB, WIDTH, decoder, kept, logits


@VARIANTS
def test_gradient_reaches_every_parameter(options: dict[str, Any]) -> None:
    model = decoder(**options).train()
    hidden = model(model.embed(torch.arange(6)[None]), kept(1, 6)).hidden_states
    sum(model.project(h).square().mean() for h in hidden).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_gradient_is_that_of_the_last_cycle_alone() -> None:
    model = decoder(num_cycles=3)
    x = torch.randn(1, 5, WIDTH)
    model(x, kept(1, 5)).hidden_states[-1].square().sum().backward()
    gradient = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    # two cycles by themselves, then their states as the fixed start of a single one
    model.zero_grad()
    short = decoder(num_cycles=1)
    y, z = _states_after(model, x, num_cycles=2)
    answer = _one_cycle(short, x, y, z)[0]
    answer.square().sum().backward()
    for name, parameter in short.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradient[name], parameter.grad, **TOLERANCE)


def test_supervision_steps_are_detached_from_each_other() -> None:
    model = decoder(num_supervision_steps=2, num_cycles=1)
    x = torch.randn(1, 5, WIDTH, requires_grad=True)
    first, second = model(x, kept(1, 5)).hidden_states
    second.square().sum().backward()
    y, z = (state.detach() for state in _one_cycle(model, x.detach(), *_start(model, x)))
    torch.testing.assert_close(first.detach(), y, **TOLERANCE)
    alone = x.detach().clone().requires_grad_()
    _one_cycle(model, alone, y, z)[0].square().sum().backward()
    torch.testing.assert_close(x.grad, alone.grad, **TOLERANCE)


@VARIANTS
def test_needed_positions_and_gradients_are_those_of_a_full_pass(options: dict[str, Any]) -> None:
    model = decoder(**options)
    packed = torch.ones(3, 7, 7, dtype=torch.bool)
    packed[0, 4:, :4] = False  # two questions in the first row
    positions = torch.arange(7).expand(3, 7)
    needed = torch.zeros(3, 7, dtype=torch.bool)
    needed[0, [1, 5, 6]] = needed[1, 3] = True  # none in the last row
    found = []
    for chosen in (None, needed):
        x = torch.randn(3, 7, WIDTH, generator=torch.Generator().manual_seed(1)).requires_grad_()
        output = model(x, packed, position_ids=positions, needed=chosen)
        *first, last = output.hidden_states
        assert last.shape == x.shape
        loss = last[needed].square().sum() + sum(each.square().sum() for each in first)
        model.zero_grad()
        loss.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((last[needed], first, x.grad, gradients))
    torch.testing.assert_close(found[1], found[0], **TOLERANCE)
    # three positions of the first row are needed, so the other four are not computed
    assert (last[0][~needed[0]] == 0).all()


def test_nothing_needed_is_no_error() -> None:
    model = decoder()
    x = torch.randn(2, 4, WIDTH)
    output = model(x, kept(2, 4), needed=torch.zeros(2, 4, dtype=torch.bool))
    assert output.hidden_states[-1].shape == x.shape


def _start(model: TinyRecursiveDecoder, x: Tensor) -> tuple[Tensor, Tensor]:
    return model.answer_init.expand_as(x), model.latent_init.expand_as(x)


def _one_cycle(
    model: TinyRecursiveDecoder, x: Tensor, y: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    """The recursion as the paper writes it, attention mask and rotation made by hand."""
    length = x.shape[1]
    bias = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)[None, None]
    turn = torch.view_as_complex(model.rotary[:length])[None, :, None]
    for _ in range(model.config.num_latent_updates):
        z = model.block(x + y + z, bias, turn, None, 0)
    return model.block(y + z, bias, turn, None, 0), z


def _states_after(model: TinyRecursiveDecoder, x: Tensor, num_cycles: int) -> tuple[Tensor, Tensor]:
    y, z = _start(model, x)
    with torch.no_grad():
        for _ in range(num_cycles):
            y, z = _one_cycle(model, x, y, z)
    return y, z


def test_autocast_trains_every_parameter_and_stays_near_float32() -> None:
    # Weights that autocast has cast in the cycles without gradient must not serve the last one.
    model = decoder().train()
    x = torch.randn(2, 6, WIDTH)
    mask = kept(2, 6)
    mask[0, :3] = 0
    exact = logits(model, x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        near = logits(model, x, mask)
    near.float().square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    # bf16 keeps 8 bits; twelve layers of it on unit-scale states
    assert (near[mask.bool()] - exact[mask.bool()]).abs().max() < 0.15


def test_dropout_draws_from_the_global_generator_in_training_only() -> None:
    model = decoder(dropout=0.5)
    x = torch.randn(1, 5, WIDTH)
    still = logits(model, x, kept(1, 5))
    assert torch.equal(still, logits(model, x, kept(1, 5)))
    model.train()
    torch.manual_seed(3)
    one = logits(model, x, kept(1, 5))
    two = logits(model, x, kept(1, 5))
    torch.manual_seed(3)
    assert torch.equal(one, logits(model, x, kept(1, 5)))
    assert not torch.equal(one, two)
    assert not torch.equal(one, still)


def test_saved_state_rebuilds_the_decoder() -> None:
    for tied in (True, False):
        model = decoder(tie_word_embeddings=tied)
        with torch.no_grad():
            model.latent_init.add_(1.0)
        state = model.saved_state()
        torch.manual_seed(9)
        other = TinyRecursiveDecoder(model.config, VOCAB).eval()
        other.load_saved_state(state)
        x = torch.randn(1, 5, WIDTH)
        assert torch.equal(logits(model, x, kept(1, 5)), logits(other, x, kept(1, 5)))
        del state["latent_init"]
        with pytest.raises(RuntimeError, match="latent_init"):
            other.load_saved_state(state)


def test_embeddings_have_unit_scale() -> None:
    model = TinyRecursiveDecoder(TinyRecursiveConfig(), vocab_size=2000)
    scale = model.embed(torch.arange(2000)[None]).square().mean().sqrt()
    assert abs(float(scale.detach()) - 1.0) < 0.01  # mean of 256,000 squares


def test_size_is_between_one_and_five_million_at_two_layers_of_256() -> None:
    config = TinyRecursiveConfig(width=256, num_heads=8, intermediate_dim=768)
    count = sum(p.numel() for p in TinyRecursiveDecoder(config, 1500).parameters())
    layer = 4 * 256 * 256 + 3 * 256 * 768 + 2 * 256
    assert count == 2 * layer + 256 + 1500 * 256
    assert 1_000_000 < count < 5_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_cycles": 0}, "num_cycles is 0, expected 1 to 1000000"),
        ({"width": 30, "num_heads": 4}, "width is 30, expected a multiple of 2 \\* num_heads = 8"),
        ({"norm": "none"}, "norm is 'none', expected 'pre' or 'post'"),
        ({"dropout": 1.0}, "dropout is 1.0, expected at least 0 and less than 1"),
    ],
)
def test_config_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TinyRecursiveConfig(**options)


def test_input_errors() -> None:
    model = decoder(max_positions=8)
    with pytest.raises(ValueError, match="9 positions, but max_positions is 8"):
        model(torch.randn(1, 9, WIDTH), kept(1, 9))
    with pytest.raises(ValueError, match=r"attention_mask has shape \(1, 4\)"):
        model(torch.randn(1, 5, WIDTH), kept(1, 4))
    with pytest.raises(TypeError, match="cache is a list, expected the KeyValueCache"):
        model(torch.randn(1, 1, WIDTH), kept(1, 5), cache=[], use_cache=True)
