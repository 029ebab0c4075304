"""The paired tests against SciPy and against all resamples, counted one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, chi2

from edge_glass.training.compare.paired import compare_pairs, mcnemar


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 5), (3, 9), (12, 12), (0, 1), (400, 480)])
def test_mcnemar_is_exact_for_few_pairs(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(only_b, only_a) == mcnemar(only_a, only_b)


def test_mcnemar_of_many_pairs_is_chi_squared() -> None:
    statistic = (abs(700 - 800) - 1) ** 2 / 1500
    assert mcnemar(700, 800) == pytest.approx(chi2.sf(statistic, 1), rel=1e-9)
    # near the exact value: the correction is made for that
    assert mcnemar(700, 800) == pytest.approx(binomtest(700, 1500).pvalue, rel=0.02)
    assert mcnemar(0, 0) == 1.0


def test_the_bootstrap_draws_whole_groups() -> None:
    a, b = [0.0, 0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.5, 0.0]
    groups = ["x", "x", "y", "z", "z"]
    result = compare_pairs(a, b, groups, num_resamples=20_000)
    totals, sizes = {"x": 2.0, "y": 0.0, "z": -0.5}, {"x": 2, "y": 1, "z": 2}
    means = [
        sum(totals[group] for group in drawn) / sum(sizes[group] for group in drawn)
        for drawn in product("xyz", repeat=3)  # all 27, equally likely
    ]
    share = np.mean(np.array(means) <= 0)
    # 0.015: four standard errors of a share of 20,000 draws
    assert result.p_bootstrap / 2 == pytest.approx(share, abs=0.015)
    assert result.difference == pytest.approx(0.3)
    assert result.interval == pytest.approx(
        np.quantile(np.repeat(means, 1000), [0.025, 0.975]), abs=1e-9
    )
    assert (result.only_a, result.p_mcnemar) == (None, None)  # a score of a half


def test_equal_runs_do_not_differ_and_the_seed_decides() -> None:
    draw = np.random.default_rng(0)
    a, b = (draw.integers(0, 2, 60).astype(float).tolist() for _ in range(2))
    groups = list(range(60))
    same = compare_pairs(a, a, groups, num_resamples=100)
    assert (same.p_bootstrap, same.p_mcnemar, same.interval) == (1.0, 1.0, (0.0, 0.0))
    first = compare_pairs(a, b, groups, num_resamples=500)
    assert first == compare_pairs(a, b, groups, num_resamples=500)
    assert first != compare_pairs(a, b, groups, num_resamples=500, seed=1)
    back = compare_pairs(b, a, groups, num_resamples=500)
    assert back.interval == pytest.approx([-end for end in reversed(first.interval)])
    assert first.only_a == back.only_b


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="found 1 and 2 scores and 2 groups"):
        compare_pairs([1.0], [1.0, 0.0], ["x", "y"])
