"""The VQAv2 rule against its published examples and a reference of a few lines."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from edge_glass.training.evaluation.rules.vqa_v2 import (
    normalise_vqa_v2,
    vqa_v2_accuracy,
    vqa_v2_exact_match,
)


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [
        ("two", "2"),
        ("None", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("dont", "don't"),
        ("don't", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("couldntve", "couldntve"),  # the table restores one apostrophe, not two
        ("shes", "shes"),  # and not this one
        ("somebody'd", "somebodyd"),
        ("a man and the dog", "man and dog"),
        ("A", ""),
        ("Yes.", "yes"),
        ("1.5", "1.5"),
        ("3.", "3"),
        ("1,000", "1000"),
        ("red,blue", "red blue"),
        ("red, blue", "red blue"),
        ("red , blue", "red blue"),  # a mark beside a space leaves none of its own
        ("t-shirt", "t shirt"),
        ("t- shirt", "t shirt"),
        ("t-shirt, 1,000", "tshirt 1000"),  # after "1,000" no mark becomes a space
        ("man's", "man's"),
        ("up\nand\tdown ", "up and down"),
    ],
)
def test_normalise(answer: str, normalised: str) -> None:
    assert normalise_vqa_v2(answer) == normalised


@pytest.mark.parametrize(
    ("equal", "accuracy"),
    # of ten: the mean over the sets of nine. The figures of the evaluation's page.
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)],
)
def test_accuracy_of_ten_answers(equal: int, accuracy: float) -> None:
    answers = ["two"] * equal + [f"other {number}" for number in range(10 - equal)]
    # 1e-12: rounding of thirds
    assert vqa_v2_accuracy("2", answers) == pytest.approx(accuracy, abs=1e-12)


def test_accuracy_is_the_mean_over_the_sets_of_nine() -> None:
    draw = random.Random(0)
    for _ in range(50):
        answers = [draw.choice(["red", "Red.", "the red", "blue", "two", "2"]) for _ in range(10)]
        given = draw.choice(answers)
        scores = []
        for nine in combinations(range(10), 9):
            same = [normalise_vqa_v2(answers[one]) == normalise_vqa_v2(given) for one in nine]
            scores.append(min(1, sum(same) / 3))
        assert vqa_v2_accuracy(given, answers) == pytest.approx(sum(scores) / 10, abs=1e-12)


def test_three_answers_are_too_few() -> None:
    with pytest.raises(ValueError, match="found 3 answers"):
        vqa_v2_accuracy("red", ["red"] * 3)


@pytest.mark.parametrize(
    ("given", "truth", "right"),
    [
        ("two", "2", True),
        ("don't", "dont", True),
        ("top-left", "top left", True),
        ("red", "blue", False),
        ("the", "a", False),
        ("", "", False),
    ],
)
def test_exact_match_of_one_answer(given: str, truth: str, right: bool) -> None:
    assert vqa_v2_exact_match(given, [truth]) == right
    assert vqa_v2_exact_match(given, ["green", truth]) == right
