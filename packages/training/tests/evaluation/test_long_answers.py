"""BLEU and ROUGE-L against their formulas."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from edge_glass.training.evaluation.answers.long_answers import (
    has_long_answers,
    long_answer_metrics,
)

TRUTHS = [
    "the small dog lies under the table beside a red chair",
    "two people walk along the river on a sunny day",
]
GIVEN = [
    "the small dog sits under the table beside a chair",
    "two people walk by the river on a cloudy day",
]


def bleu(predictions: list[str], truths: list[str]) -> float:
    """Papineni et al. 2002, on words; these texts hold no punctuation to take off."""
    logs = []
    for size in range(1, 5):
        shared = total = 0
        for given, truth in zip(predictions, truths, strict=True):
            found, expected = (
                Counter(zip(*(words[start:] for start in range(size)), strict=False))
                for words in (given.split(), truth.split())
            )
            shared += (found & expected).total()
            total += found.total()
        logs.append(math.log(shared / total))
    lengths = [sum(len(text.split()) for text in texts) for texts in (predictions, truths)]
    return min(1.0, math.exp(1 - lengths[1] / lengths[0])) * math.exp(sum(logs) / 4)


def rouge_l(prediction: str, truth: str) -> float:
    """Lin 2004: F of the longest common subsequence of words."""
    a, b = prediction.split(), truth.split()
    longest = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            longest[i + 1][j + 1] = (
                longest[i][j] + 1 if one == other else max(longest[i][j + 1], longest[i + 1][j])
            )
    return 2 * longest[-1][-1] / (len(a) + len(b))


def test_against_the_formulas() -> None:
    metrics = long_answer_metrics(GIVEN, TRUTHS)
    assert set(metrics) == {"bleu", "rouge_l"}
    assert metrics["bleu"] == pytest.approx(bleu(GIVEN, TRUTHS))
    # no word of these has another stem in the other text
    assert metrics["rouge_l"] == pytest.approx(sum(map(rouge_l, GIVEN, TRUTHS)) / 2)


def test_the_ends_of_the_scale() -> None:
    assert long_answer_metrics(TRUTHS, TRUTHS) == pytest.approx({"bleu": 1.0, "rouge_l": 1.0})
    assert long_answer_metrics(["", ""], TRUTHS) == {"bleu": 0.0, "rouge_l": 0.0}


def test_short_answers_get_neither() -> None:
    seven, eight = " ".join(["word"] * 7), " ".join(["word"] * 8)
    assert long_answer_metrics(["two"], ["two"]) == {}
    assert not has_long_answers([seven, seven, eight])
    assert has_long_answers([seven, eight, eight])


def test_columns_must_agree() -> None:
    with pytest.raises(ValueError, match="found 1 predictions and 2 answers"):
        long_answer_metrics(GIVEN[:1], TRUTHS)
    with pytest.raises(ValueError, match="found 0 predictions and 0 answers"):
        long_answer_metrics([], [])
