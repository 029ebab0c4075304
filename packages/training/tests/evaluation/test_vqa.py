from __future__ import annotations

import pytest

from edge_glass.training.evaluation.answers.scores import (
    exact_match,
    majority_answers,
    majority_predictions,
    normalise,
    token_f1,
    visual_reliance,
    vqa_metrics,
)


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [
        ("The Red  car.", "red car"),
        ("an apple\n", "apple"),
        ("top-left", "top left"),
        ("don’t", "don t"),
        ("A", "a"),
        ("?!", "?!"),
        ("", ""),
        ("1,000", "1000"),
        ("1, 2", "1 2"),
        ("1.5 kg", "1.5 kg"),
        ("about -3.", "about -3"),
        ("2-3", "2 3"),
        ("x-3", "x 3"),
        ("yes.no", "yes no"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("¿qué?", "qué"),
        ("theatre", "theatre"),
    ],
)
def test_normalise(answer: str, normalised: str) -> None:
    assert normalise(answer) == normalised
    assert normalise(normalised) == normalised


def test_exact_match() -> None:
    assert exact_match("The red car!", "a red car")
    assert not exact_match("red", "red car")
    assert not exact_match("1.5", "15")
    assert exact_match("Two", "2")
    assert not exact_match("", "")


def test_token_f1() -> None:
    assert token_f1("the red car", "a red car") == 1.0
    assert token_f1("red red", "red car") == pytest.approx(0.5)
    assert token_f1("red", "big red car") == pytest.approx(2 * 1 * (1 / 3) / (1 + 1 / 3))
    assert token_f1("blue", "red") == 0.0
    assert token_f1("", "") == 0.0


def test_metrics_by_type() -> None:
    metrics = vqa_metrics(
        ["four", "no", "the cat", "three"],
        ["2", "No.", "cat", "3"],
        ["count", "yesno", "kind", "count"],
    )
    assert metrics == {
        "accuracy": 0.75,
        "f1": 0.75,
        "by_type": {"count": 0.5, "kind": 1.0, "yesno": 1.0},
        "f1_by_type": {"count": 0.5, "kind": 1.0, "yesno": 1.0},
    }
    assert list(metrics["by_type"]) == ["count", "kind", "yesno"]


def test_majority_is_by_type_and_of_equals_the_first() -> None:
    answers = ["Two", "two.", "3", "3", "red", "no"]
    types = ["count", "count", "count", "count", "colour", "yesno"]
    majority = majority_answers(answers, types)
    assert majority == {"colour": "red", "count": "2", "yesno": "no"}
    assert majority_answers(answers[::-1], types[::-1]) == majority
    assert majority_predictions(majority, ["count", "where", "colour"]) == ["2", "", "red"]


def test_visual_reliance_is_what_the_picture_adds() -> None:
    truths = ["red", "2", "no", "cat"]
    assert visual_reliance(["red", "2", "no", "dog"], ["blue", "2", "yes", "dog"], truths) == 0.5


def test_columns_of_other_lengths_are_named() -> None:
    with pytest.raises(ValueError, match=r"columns of \[2, 1, 2\] rows"):
        vqa_metrics(["a", "b"], ["a"], ["x", "y"])
    with pytest.raises(ValueError, match="at least one"):
        vqa_metrics([], [], [])
