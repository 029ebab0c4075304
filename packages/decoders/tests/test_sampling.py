from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_glass.decoders.sampling import Sampling, choose, generate, uniform
from edge_glass.decoders.trm import TinyRecursiveConfig, TinyRecursiveDecoder

VOCAB = 12


def decoder(max_positions: int = 64) -> TinyRecursiveDecoder:
    config = TinyRecursiveConfig(
        width=16, num_heads=2, intermediate_dim=32, max_positions=max_positions
    )
    return TinyRecursiveDecoder(config, VOCAB).eval()


def test_uniform_depends_on_its_arguments_only() -> None:
    draws = [
        uniform(seed, example, step)
        for seed in range(10)
        for example in range(10)
        for step in range(10)
    ]
    assert len(set(draws)) == 1000
    assert all(0 <= draw < 1 for draw in draws)
    assert uniform(1, 2, 3) == uniform(1, 2, 3)
    # mean of 1,000 uniform numbers: five standard errors
    assert abs(sum(draws) / 1000 - 0.5) < 5 * 12**-0.5 / 1000**0.5


def test_sampling_has_the_frequencies_of_the_softmax() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    count = 4000
    words = choose(
        probabilities.log().expand(count, 4), Sampling(temperature=1.0), range(count), step=0
    )
    found = torch.bincount(words, minlength=4) / count
    # five standard errors of a frequency of one half
    assert (found - probabilities).abs().max() < 5 * (0.25 / count) ** 0.5


def test_top_p_keeps_the_smallest_set_that_holds_it() -> None:
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(500, 4)
    for top_p, words in ((0.4, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        chosen = choose(scores, Sampling(temperature=1.0, top_p=top_p), range(500), step=1)
        assert set(chosen.tolist()) == words


def test_the_smallest_temperature_is_greedy() -> None:
    scores = torch.tensor([[3.0, 5.0, 4.0], [-2e4, -3e4, -1e4]])
    for temperature in (1e-4, 5e-324):
        words = choose(scores, Sampling(temperature=temperature), range(2), step=0)
        assert words.tolist() == [1, 2]


def test_an_answer_ends_where_the_context_does() -> None:
    model = decoder(max_positions=8)
    x, mask = torch.randn(1, 6, 16), torch.ones(1, 6, dtype=torch.long)
    long = generate(decoder(), x, mask, model.embed, 3, VOCAB)
    found = generate(model, x, mask, model.embed, 10**30, VOCAB)
    assert found.shape == long.shape == (1, 3)  # the last word takes no position


def test_temperature_sharpens() -> None:
    scores = torch.tensor([1.0, 0.0]).expand(2000, 2)
    cold, warm = (
        float(choose(scores, Sampling(temperature=t), range(2000), 0).float().mean())
        for t in (0.25, 4.0)
    )
    expected = [float(torch.sigmoid(torch.tensor(-1.0 / t))) for t in (0.25, 4.0)]
    assert cold == pytest.approx(expected[0], abs=5 * (0.25 / 2000) ** 0.5)
    assert warm == pytest.approx(expected[1], abs=5 * (0.25 / 2000) ** 0.5)


def test_sampled_answers_are_the_same_in_any_batch() -> None:
    model = decoder()
    x = torch.randn(4, 5, 16)
    mask = torch.ones(4, 5, dtype=torch.long)
    sampling = Sampling(temperature=1.0, top_p=0.95, seed=7)

    def run(rows: list[int]) -> list[list[int]]:
        return generate(
            model, x[rows], mask[rows], model.embed, 9, VOCAB, sampling=sampling, examples=rows
        ).tolist()

    together = run([0, 1, 2, 3])
    assert run([2, 0]) == [together[2], together[0]]
    assert run([3]) == [together[3]]
    assert len({tuple(row) for row in together}) == 4


def test_rows_end_at_eos_and_are_filled_with_it() -> None:
    model = decoder()
    x = torch.randn(6, 4, 16)
    mask = torch.ones(6, 4, dtype=torch.long)
    free = generate(model, x, mask, model.embed, 8, eos_token_id=VOCAB)
    eos = int(free[0, 2])  # a word that some row generates early
    ended = generate(model, x, mask, model.embed, 8, eos_token_id=eos)
    for row, full in zip(ended.tolist(), free.tolist(), strict=True):
        end = full.index(eos) + 1 if eos in full else 8
        assert row[:end] == full[:end][: len(row)]
        assert all(word == eos for word in row[end:])


def test_generation_stops_once_every_row_has_ended() -> None:
    model = decoder()
    calls: list[int] = []

    def embed(ids: Tensor) -> Tensor:
        calls.append(ids.shape[0])
        return model.embed(ids)

    x, mask = torch.randn(1, 4, 16), torch.ones(1, 4, dtype=torch.long)
    first = int(generate(model, x, mask, model.embed, 1, eos_token_id=VOCAB)[0, 0])
    assert generate(model, x, mask, embed, 8, eos_token_id=first).tolist() == [[first]]
    assert calls == []
    assert generate(model, x, mask, embed, 0, eos_token_id=first).shape == (1, 0)


def test_errors() -> None:
    model = decoder()
    x, mask = torch.randn(2, 4, 16), torch.ones(2, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="training mode"):
        generate(model.train(), x, mask, model.embed, 1, 1)
    model.eval()
    with pytest.raises(ValueError, match="a row of attention_mask keeps no position"):
        generate(model, x, mask * torch.tensor([[1], [0]]), model.embed, 1, 1)
    with pytest.raises(ValueError, match="1 examples for 2 rows"):
        generate(model, x, mask, model.embed, 1, 1, examples=[5])
    with pytest.raises(ValueError, match=r"shape \(2, 4, 4\), expected \(2, S\)"):
        generate(model, x, torch.ones(2, 4, 4), model.embed, 1, 1)
    with pytest.raises(ValueError, match="temperature is -1"):
        Sampling(temperature=-1)
    with pytest.raises(ValueError, match="top_p is 0"):
        Sampling(top_p=0)
