"""Is B better than A on the same questions? A paired bootstrap, and McNemar's test.

Two runs answer the same questions, so their scores are paired: what counts is the difference per
question. The bootstrap (Efron 1979) draws groups of questions, such as those about one image, and
is valid for any score. McNemar's test (1947) is for right and wrong, and takes the questions as
independent: with several questions per image its p-value is somewhat too small.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
EXACT_UP_TO = 1000  # discordant pairs
_DRAWS = 2**22  # of the bootstrap in memory at a time: 32 MB


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The comparison of two runs on n questions.

    Attributes:
        number: n.
        mean_a, mean_b: mean scores.
        difference: of B minus A.
        interval: of the difference, at 95 % confidence.
        p_bootstrap: two-sided, of no difference.
        only_a, only_b: questions that only one run answers right; None if scores are not 0 or 1.
        p_mcnemar: two-sided; None if scores are not 0 or 1.
    """

    number: int
    mean_a: float
    mean_b: float
    difference: float
    interval: tuple[float, float]
    p_bootstrap: float
    only_a: int | None
    only_b: int | None
    p_mcnemar: float | None


def compare_pairs(
    a: Sequence[float],
    b: Sequence[float],
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    num_resamples: int = 10_000,
) -> Paired:
    """Compares the scores of two runs, question by question.

    Args:
        a: n scores of run A.
        b: n scores of run B, in the same order.
        groups: n names; the questions of one group are drawn together.
        seed: of the draws.
        num_resamples: of the bootstrap; its smallest p-value is 2 / (num_resamples + 1).
    """
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if left.shape != right.shape or left.shape != (len(groups),) or not len(left):
        raise ValueError(
            f"found {len(a)} and {len(b)} scores and {len(groups)} groups; expected equal numbers, "
            "and at least one"
        )
    numbers: dict[Hashable, int] = {}
    of_group = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
    means = _resampled(right - left, of_group, seed, num_resamples)
    tail = min(int((means <= 0).sum()), int((means >= 0).sum()))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    only_a = only_b = p_mcnemar = None
    if set(np.unique([left, right]).tolist()) <= {0.0, 1.0}:
        only_a, only_b = int((left > right).sum()), int((right > left).sum())
        p_mcnemar = mcnemar(only_a, only_b)
    return Paired(
        number=len(left),
        mean_a=math.fsum(left) / len(left),
        mean_b=math.fsum(right) / len(left),
        difference=math.fsum(right - left) / len(left),
        interval=(float(low), float(high)),
        # with 1 added, a p-value is never 0 (Davison and Hinkley 1997, section 4.2)
        p_bootstrap=min(1.0, 2 * (tail + 1) / (num_resamples + 1)),
        only_a=only_a,
        only_b=only_b,
        p_mcnemar=p_mcnemar,
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Returns the two-sided p-value of McNemar's test.

    It is exact (binomial) up to 1,000 pairs of which one is right, and above by chi-squared with
    continuity correction.
    """
    number = only_a + only_b
    if number == 0:
        return 1.0
    if number > EXACT_UP_TO:
        statistic = max(0, abs(only_a - only_b) - 1) ** 2 / number
        return math.erfc(math.sqrt(statistic / 2))
    tail = sum(math.comb(number, few) for few in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / (1 << number))


def _resampled(
    values: NDArray[np.float64], of_group: NDArray[np.int64], seed: int, num_resamples: int
) -> NDArray[np.float64]:
    """Returns the means of resampled groups; the draws are a function of (seed, index)."""
    totals = np.bincount(of_group, weights=values)
    sizes = np.bincount(of_group).astype(np.float64)
    count = np.uint64(len(totals))
    # Raw bits: NumPy promises to keep their stream, but not the methods of Generator.
    bits = np.random.Philox(key=seed)
    step = max(1, _DRAWS // len(totals))
    means = []
    for start in range(0, num_resamples, step):
        rows = min(step, num_resamples - start)
        drawn = (bits.random_raw(rows * len(totals)) % count).reshape(rows, len(totals))
        means.append(totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)
