"""Who sees whom in the recursive decoder: causal, prefix, padding, packing, cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from edge_glass.decoders.sampling import Sampling, generate
from tiny_trm import TOLERANCE, VARIANTS, VOCAB, WIDTH, decoder, kept, logits


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
    other = torch.randn(1, 9, WIDTH)  # a longer row in the same batch
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
        # Sampled, because a greedy untrained model repeats one word.
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
