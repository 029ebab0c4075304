from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from edge_glass.decoders.sampling import Sampling, generate
from edge_glass.decoders.trm import TinyRecursiveConfig, TinyRecursiveDecoder

WIDTH, VOCAB = 32, 40
# float32: the same sums over at most 64 products in another order, a dozen layers deep
TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}
VARIANTS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "pre", "num_cycles": 3, "tie_word_embeddings": False},
        {"num_supervision_steps": 2, "num_latent_updates": 1},
    ],
    ids=["default", "pre-norm", "two-steps"],
)


def decoder(**options: Any) -> TinyRecursiveDecoder:
    torch.manual_seed(0)
    fields: dict[str, Any] = {"width": WIDTH, "num_heads": 2, "intermediate_dim": 64}
    return TinyRecursiveDecoder(TinyRecursiveConfig(**fields | options), VOCAB).eval()


def kept(batch: int, length: int) -> Tensor:
    return torch.ones(batch, length, dtype=torch.long)


def logits(model: TinyRecursiveDecoder, x: Tensor, mask: Tensor, **arguments: Any) -> Tensor:
    return model.project(model(x, mask, **arguments).hidden_states[-1])


@VARIANTS
def test_no_future_token_reaches_an_answer(options: dict[str, Any]) -> None:
    model = decoder(**options)
    x = torch.randn(1, 6, WIDTH)
    changed = x.clone()
    changed[:, 4] += 1.0
    before, after = (logits(model, each, kept(1, 6)) for each in (x, changed))
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().amax(dim=-1).min() > 1e-3


@VARIANTS
def test_every_image_token_reaches_every_answer_logit(options: dict[str, Any]) -> None:
    model = decoder(**options)
    prefix, length = 4, 7
    x = torch.randn(1, length, WIDTH)
    for token in range(prefix):
        changed = x.clone()
        changed[:, token] += torch.randn(WIDTH)
        before, after = (
            logits(model, each, kept(1, length), prefix_length=prefix) for each in (x, changed)
        )
        # the prefix's own rows too: it sees itself both ways
        assert (before - after).abs().min() > 0


@VARIANTS
@pytest.mark.parametrize("state", ["latent_init", "answer_init"])
def test_latent_and_answer_state_reach_every_logit(options: dict[str, Any], state: str) -> None:
    model = decoder(**options)
    x = torch.randn(1, 5, WIDTH)
    before = logits(model, x, kept(1, 5))
    with torch.no_grad():
        getattr(model, state).add_(torch.randn(WIDTH))
    assert (before - logits(model, x, kept(1, 5))).abs().min() > 0


def test_the_prefix_is_causal_where_the_config_says_so() -> None:
    x = torch.randn(1, 5, WIDTH)
    one_way = decoder(bidirectional_prefix=False)
    assert torch.equal(
        logits(one_way, x, kept(1, 5), prefix_length=3), logits(one_way, x, kept(1, 5))
    )
    both_ways = decoder()
    assert not torch.allclose(
        logits(both_ways, x, kept(1, 5), prefix_length=3), logits(both_ways, x, kept(1, 5))
    )


@VARIANTS
@pytest.mark.parametrize("where", ["left", "right", "between"])
def test_padding_changes_nothing(options: dict[str, Any], where: str) -> None:
    model = decoder(**options)
    prefix = 3
    x = torch.randn(1, 7, WIDTH)
    alone = logits(model, x, kept(1, 7), prefix_length=prefix)
    at = {"left": 0, "right": 7, "between": prefix}[where]
    padding = 100 * torch.randn(1, 2, WIDTH)
    padded = torch.cat((x[:, :at], padding, x[:, at:]), dim=1)
    mask = torch.cat((kept(1, at), torch.zeros(1, 2, dtype=torch.long), kept(1, 7 - at)), dim=1)
    other = torch.randn(1, 9, WIDTH)  # a longer row beside it
    both = logits(
        model, torch.cat((padded, other)), torch.cat((mask, kept(1, 9))), prefix_length=prefix
    )
    assert both.isfinite().all()
    torch.testing.assert_close(both[0, mask[0].bool()], alone[0], **TOLERANCE)


@VARIANTS
def test_packed_questions_equal_separate_ones(options: dict[str, Any]) -> None:
    model = decoder(**options)
    prefix = torch.randn(1, 3, WIDTH)
    first, second = torch.randn(1, 2, WIDTH), torch.randn(1, 4, WIDTH)
    group = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    may_see = (group[None, :] == 0) | (group[:, None] == group[None, :])
    positions = torch.tensor([[0, 1, 2, 3, 4, 3, 4, 5, 6]])
    packed = logits(
        model,
        torch.cat((prefix, first, second), dim=1),
        may_see[None],
        position_ids=positions,
        prefix_length=3,
    )
    for question, rows in ((first, slice(3, 5)), (second, slice(5, 9))):
        x = torch.cat((prefix, question), dim=1)
        alone = logits(model, x, kept(1, x.shape[1]), prefix_length=3)
        torch.testing.assert_close(packed[:, rows], alone[:, 3:], **TOLERANCE)


@VARIANTS
def test_cached_steps_equal_one_uncached_run(options: dict[str, Any]) -> None:
    model = decoder(**options)
    x = torch.randn(2, 9, WIDTH)
    mask = kept(2, 9)
    mask[0, :2] = 0  # left
    mask[1, 4] = 0  # right padding of a prompt of five
    whole = model(x, mask, prefix_length=3)
    cache, pieces = None, []
    for start, end in ((0, 5), (5, 6), (6, 9)):
        output = model(x[:, start:end], mask[:, :end], cache=cache, use_cache=True, prefix_length=3)
        cache = output.cache
        pieces.append(output.hidden_states)
    for step, expected in enumerate(whole.hidden_states):
        cached = torch.cat([piece[step] for piece in pieces], dim=1)
        torch.testing.assert_close(cached[mask.bool()], expected[mask.bool()], **TOLERANCE)


@VARIANTS
@pytest.mark.parametrize("side", ["left", "right"])
def test_cached_generation_equals_uncached_and_each_row_alone(
    options: dict[str, Any], side: str
) -> None:
    model = decoder(**options)
    lengths, prefix = (4, 7, 9), 3
    rows = [torch.randn(1, n, WIDTH) for n in lengths]
    mask = torch.zeros(3, 9, dtype=torch.long)
    x = 10 * torch.randn(3, 9, WIDTH)
    for index, row in enumerate(rows):
        columns = slice(9 - lengths[index], 9) if side == "left" else slice(0, lengths[index])
        x[index, columns], mask[index, columns] = row[0], 1

    def run(inputs: Tensor, keep: Tensor, first: int, use_cache: bool) -> list[list[int]]:
        # sampled, as an untrained model that is greedy says one word again and again
        return generate(
            model,
            inputs,
            keep,
            model.embed,
            max_new_tokens=8,
            eos_token_id=VOCAB,
            prefix_length=prefix,
            sampling=Sampling(temperature=1.0),
            examples=range(first, first + len(inputs)),
            use_cache=use_cache,
        ).tolist()

    cached = run(x, mask, 0, use_cache=True)
    assert cached == run(x, mask, 0, use_cache=False)
    for index, row in enumerate(rows):
        assert run(row, kept(1, row.shape[1]), index, use_cache=True) == [cached[index]]
    assert len({word for row in cached for word in row}) > 4


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
    assert abs(model.embedding_scale() - 1.0) < 0.01  # mean of 256,000 squares


def test_sample_size_is_between_one_and_five_million_at_three_layers_of_256() -> None:
    config = TinyRecursiveConfig(width=256, num_heads=8, intermediate_dim=768)
    count = sum(p.numel() for p in TinyRecursiveDecoder(config, 1500).parameters())
    layer = 4 * 256 * 256 + 3 * 256 * 768 + 2 * 256
    assert count == 2 * layer + 256 + 1500 * 256
    assert 1_000_000 < count < 5_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_cycles": 0}, "num_cycles is 0, expected 1 or more"),
        ({"width": 30, "num_heads": 4}, "no multiple of 2 \\* num_heads = 8"),
        ({"norm": "none"}, "norm is 'none', expected 'pre' or 'post'"),
        ({"dropout": 1.0}, "dropout is 1.0, expected 0 <= dropout < 1"),
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
