"""Relaxed accuracy: 5 % of a number, equal text for everything else."""

from __future__ import annotations

import pytest

from edge_glass.training.evaluation.rules.relaxed_accuracy import relaxed_match


@pytest.mark.parametrize(
    ("given", "answers", "right"),
    [
        ("95", ["100"], True),
        ("94.9", ["100"], False),
        ("-104", ["-100"], True),
        ("100", ["95"], False),  # 5 % of the answer, not of the prediction
        ("12.5%", ["0.125"], True),
        ("50", ["50%"], False),
        ("0.0", ["0"], False),  # of 0 no number is 5 %: equal text
        ("0", ["0"], True),
        ("Asia ", ["asia"], True),
        ("Asia", ["Europe", "Asia"], True),
        ("nan", ["5"], False),
        ("inf", ["5"], False),
    ],
)
def test_relaxed_match(given: str, answers: list[str], right: bool) -> None:
    assert relaxed_match(given, answers) == right
