"""Which rules score a question, and their means over a split.

`vqa_v2_accuracy` scores questions with ten answers, `vqa_v2_exact_match` all others. `anls` and
`relaxed_accuracy` also score the question types that `evaluate_vlm_qa.*.rules` names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_glass.training.evaluation.rules.anls import anls
from edge_glass.training.evaluation.rules.relaxed_accuracy import relaxed_match
from edge_glass.training.evaluation.rules.vqa_v2 import (
    NUM_ANSWERS,
    vqa_v2_accuracy,
    vqa_v2_exact_match,
)

RULES: dict[str, Callable[[str, Sequence[str]], float]] = {
    "anls": anls,
    "relaxed_accuracy": relaxed_match,
    "vqa_v2_accuracy": vqa_v2_accuracy,
    "vqa_v2_exact_match": vqa_v2_exact_match,
}


def question_scores(
    prediction: str, truth: str, answers: Sequence[str] | None, rule: str | None = None
) -> dict[str, float]:
    """Returns the score of one question by each rule that applies, 0 to 1.

    Args:
        prediction: the model's answer.
        truth: the answer that the model learns.
        answers: all accepted answers, if the data have several.
        rule: of the question's type: "anls" or "relaxed_accuracy".
    """
    accepted = list(answers or (truth,))
    names = {"vqa_v2_accuracy" if len(accepted) == NUM_ANSWERS else "vqa_v2_exact_match"}
    names |= {rule} if rule else set()
    return {name: float(RULES[name](prediction, accepted)) for name in sorted(names)}


def rule_metrics(
    predictions: Sequence[str], rows: Sequence[Mapping[str, Any]], rules: Mapping[str, str]
) -> dict[str, Any]:
    """Returns the mean of each rule that scores at least one row.

    A rule that scores only a part of the rows also has their number, "RULE_questions". The VQAv2
    accuracy is also returned by question type, as it is published by answer type.

    Args:
        predictions: one answer per row.
        rows: with "answer", "type" and, if the data have them, "answers".
        rules: from a question type to "anls" or "relaxed_accuracy".
    """
    scores: dict[str, list[float]] = {}
    by_type: dict[str, list[float]] = {}
    for given, row in zip(predictions, rows, strict=True):
        kind = row["type"]
        for name, score in question_scores(
            given, row["answer"], row.get("answers"), rules.get(kind)
        ).items():
            scores.setdefault(name, []).append(score)
            if name == "vqa_v2_accuracy":
                by_type.setdefault(kind, []).append(score)
    metrics: dict[str, Any] = {}
    for name, each in sorted(scores.items()):
        metrics[name] = math.fsum(each) / len(each)
        if len(each) < len(rows):
            metrics[f"{name}_questions"] = len(each)
    if by_type:
        metrics["vqa_v2_accuracy_by_type"] = {
            kind: math.fsum(each) / len(each) for kind, each in sorted(by_type.items())
        }
    return metrics
