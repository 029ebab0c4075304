"""Bootstrap intervals of a mean; the draws are a function of (seed, resample, index)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.generic],
    *,
    groups: Sequence[int] | NDArray[np.integer] | None = None,
    seed: int = 0,
    num_resamples: int = 1000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Returns the percentile interval of the mean of ``values``, such as ``ranks <= 1``.

    Args:
        values: one per query or question.
        groups: values of a group (images of one concept, questions about one image) are drawn
            together, because they are not independent; None if every value is.
        seed: of the draws. Philox counters and integer arithmetic give the same on every machine.
        num_resamples: number of means whose percentiles are the interval.
        confidence: share of the means inside the interval.

    Raises:
        ValueError: There are no values, lengths differ, or an option is out of its range.
    """
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"values have shape {numbers.shape}; expected (n,) with n at least 1")
    if num_resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"num_resamples is {num_resamples} and confidence {confidence}; "
            "expected at least 1, and a share between 0 and 1"
        )
    if groups is not None:
        if len(groups) != len(numbers):
            raise ValueError(f"found {len(groups)} groups for {len(numbers)} values")
        _, index = np.unique(np.asarray(groups), return_inverse=True)
    else:
        index = np.arange(len(numbers))
    totals = np.bincount(index, weights=numbers)
    sizes = np.bincount(index).astype(np.float64)
    means = np.empty(num_resamples)
    for resample in range(num_resamples):
        # Raw bits: NumPy promises to keep their stream, but not the methods of Generator.
        bits = np.random.Philox(key=seed, counter=[0, resample, 0, 0]).random_raw(len(totals))
        drawn = bits % np.uint64(len(totals))  # its bias is below 1e-12 for a million groups
        means[resample] = totals[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
