"""Relaxed accuracy, the rule of ChartQA: a number may differ by 5 %.

Methani et al., PlotQA (WACV 2020); Masry et al., ChartQA (ACL Findings 2022), section 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

TOLERANCE = 0.05


def relaxed_match(prediction: str, answers: Sequence[str]) -> bool:
    """Returns whether a prediction is near enough to one of the answers.

    A number may differ from the answer by 5 % of the answer, inclusive; "50%" is 0.5. Other
    answers, and an answer of 0, need equal text in lower case, as in the published script.
    """
    return any(_matches(prediction.strip(), answer.strip()) for answer in answers)


def _matches(prediction: str, answer: str) -> bool:
    given, expected = _number(prediction), _number(answer)
    if given is not None and expected:
        return abs(given - expected) / abs(expected) <= TOLERANCE
    return prediction.lower() == answer.lower()


def _number(text: str) -> float | None:
    try:
        number = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
