"""Which rule scores which rows, and the names of the metrics."""

from __future__ import annotations

from typing import Any

import pytest

from edge_glass.training.evaluation.rules.question_scores import rule_metrics

TEN = ["2"] * 3 + ["3"] * 7


def row(answer: str, kind: str, answers: list[str] | None = None) -> dict[str, Any]:
    return {"answer": answer, "type": kind, **({"answers": answers} if answers else {})}


def test_data_with_one_answer_have_one_rule() -> None:
    metrics = rule_metrics(["two", "red"], [row("2", "count"), row("blue", "colour")], {})
    assert metrics == {"vqa_v2_exact_match": 0.5}


def test_the_rule_follows_from_answers_and_type() -> None:
    rows = [row("3", "number", TEN), row("cat", "other"), row("100", "chart", ["100", "101"])]
    metrics = rule_metrics(["two", "Cat", "104"], rows, {"chart": "relaxed_accuracy"})
    # three of ten gave "2": seven sets of nine have all three of them, three sets have two
    expected = pytest.approx((7 * 1 + 3 * 2 / 3) / 10)
    assert metrics == {
        "relaxed_accuracy": 1.0,
        "relaxed_accuracy_questions": 1,
        "vqa_v2_accuracy": expected,
        "vqa_v2_accuracy_questions": 1,
        "vqa_v2_accuracy_by_type": {"number": expected},
        "vqa_v2_exact_match": 0.5,
        "vqa_v2_exact_match_questions": 2,
    }
