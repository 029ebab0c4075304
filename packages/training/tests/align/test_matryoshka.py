"""Which dims a step takes: all of them, or one by a draw that repeats."""

from __future__ import annotations

import math

import pytest

from edge_glass.training.align.matryoshka import MatryoshkaTerms

DIMS, WEIGHTS = [24, 16, 5, 2], [1.0, 0.5, 2.0, 0.25]


def test_the_mean_over_the_draws_is_the_full_sum() -> None:
    """Over all outcomes with their probabilities: no sampling, so equal up to rounding."""
    weights = {"matryoshka_weight": 0.7, "contrastive_weight": 0.3}
    full = MatryoshkaTerms(DIMS, WEIGHTS, **weights).at(0)
    drawn = MatryoshkaTerms(DIMS, WEIGHTS, 1, **weights)
    outcomes = {drawn.draw(step): drawn.at(step) for step in range(200)}
    assert sorted(outcomes, reverse=True) == DIMS
    for dim, expected in full.items():
        mean = sum(
            weight / sum(WEIGHTS) * outcomes[outcome].get(dim, 0.0)
            for outcome, weight in zip(DIMS, WEIGHTS, strict=True)
        )
        assert mean == pytest.approx(expected, rel=1e-12)


def test_draws_come_as_often_as_they_should() -> None:
    weights = [1.0, 0.5, 2.0, 0.0]
    terms = MatryoshkaTerms(DIMS, weights, 1, seed=11)
    draws = [terms.draw(step) for step in range(4000)]
    for dim, weight in zip(DIMS, weights, strict=True):
        chance = weight / sum(weights)
        # five standard deviations of a binomial share
        assert abs(draws.count(dim) / 4000 - chance) <= 5 * math.sqrt(chance * (1 - chance) / 4000)


def test_draws_are_a_function_of_seed_and_step() -> None:
    ones = [1.0, 1.0, 1.0]
    here = [MatryoshkaTerms([4, 2, 1], ones, 1, seed=9).draw(step) for step in range(20)]
    # what a different process drew on a different day
    assert here == [2, 2, 2, 1, 4, 2, 1, 2, 2, 4, 1, 2, 1, 4, 2, 2, 1, 4, 1, 1]
    assert here != [MatryoshkaTerms([4, 2, 1], ones, 1, seed=10).draw(step) for step in range(20)]


def test_the_plain_loss_is_one_more_weight_on_the_largest_dim() -> None:
    ones = [1.0, 1.0, 1.0]
    all_dims = MatryoshkaTerms([8, 4, 2], ones, contrastive_weight=0.5)
    assert all_dims.at(0) == {2: 1.0, 4: 1.0, 8: 1.5}
    drawn = MatryoshkaTerms([8, 4, 2], ones, 1, contrastive_weight=0.5, matryoshka_weight=2.0)
    outcomes = {drawn.draw(step): drawn.at(step) for step in range(20)}
    assert outcomes == {2: {2: 6.0, 8: 0.5}, 4: {4: 6.0, 8: 0.5}, 8: {8: 6.5}}
