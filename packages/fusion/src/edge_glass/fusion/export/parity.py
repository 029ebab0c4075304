"""The parity check: an exported model must compute what the model in torch computes.

Each figure of a report has its limit beside it. A report beyond a limit is an error, and nothing is
exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The largest difference of a number; the least share of equal answers; the largest change of R@1.
LIMITS: dict[str, dict[str, float]] = {
    "fp32": {"max_difference": 1e-4, "equal_answers": 1.0},
    "int8": {"equal_answers": 0.98, "R@1_change": 0.01},
}


class ParityError(ValueError):
    """An exported model that differs from the model in torch by more than the limits."""


def differences(expected: NDArray[Any], found: NDArray[Any]) -> dict[str, float]:
    """Returns the largest and the mean absolute difference of two arrays of one shape."""
    if expected.shape != found.shape:
        raise ParityError(
            f"the exported model returned shape {found.shape}, expected {expected.shape}"
        )
    each = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    if not np.isfinite(each).all():
        raise ParityError("the exported model returned NaN or infinity")
    return {"max_difference": float(each.max()), "mean_difference": float(each.mean())}


def recalls(
    images: NDArray[np.float32],
    captions: NDArray[np.float32],
    groups: Sequence[int],
    dims: Sequence[int],
) -> dict[str, dict[str, float]]:
    """Returns R@1 by dim and direction, of images (n, E) and the captions (k, E) of their groups.

    Any image of a caption's group is right. Of equal scores the first counts.
    """
    own = np.asarray(groups)
    found = {}
    for dim in dims:
        left, right = (
            each[:, :dim] / np.maximum(np.linalg.norm(each[:, :dim], axis=1, keepdims=True), 1e-12)
            for each in (images, captions)
        )
        scores = left.astype(np.float64) @ right.astype(np.float64).T
        asked = np.unique(own)
        found[str(dim)] = {
            "i2t": float((scores.argmax(axis=1) == own).mean()),
            "t2i": float((own[scores[:, asked].argmax(axis=0)] == asked).mean()),
        }
    return found


def recall_change(
    expected: dict[str, dict[str, float]], found: dict[str, dict[str, float]]
) -> float:
    """Returns the largest absolute change of R@1 at any dim, in either direction."""
    return max(
        abs(found[dim][way] - expected[dim][way]) for dim in expected for way in ("i2t", "t2i")
    )


def check_limits(report: dict[str, Any], precision: str) -> None:
    """Refuses a report with a figure beyond the limits of a precision.

    Raises:
        ParityError: names the figure, what was found and what is allowed.
    """
    limits = LIMITS[precision]
    for name, limit in limits.items():
        if name not in report:
            continue
        found = report[name]
        if found < limit if name == "equal_answers" else found > limit:
            word = "at least" if name == "equal_answers" else "at most"
            remedy = (
                "export with --precision fp32 only"
                if precision == "int8"
                else "report the model's config.json as a fault of the exporter"
            )
            raise ParityError(
                f"{precision}: {name} is {found:.3g}, expected {word} {limit:g}; nothing was "
                f"written: {remedy}"
            )
