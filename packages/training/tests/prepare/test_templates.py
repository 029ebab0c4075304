"""Question-answer pairs from rows of each sub-set."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from edge_glass.training.prepare.templates import (
    COUNT_TEMPLATES,
    POINT_TEMPLATES,
    RowError,
    dialogue,
    draw,
    question_answers,
)


def points_row(**changes: Any) -> dict[str, Any]:
    return {
        "points": [{"x": 60.0, "y": 20.0}, {"x": 10.04, "y": 20.0}, {"x": 5.0, "y": 3.25}],
        "count": 3,
        "label": " cups ",
        **changes,
    }


def pairs(subset: str, row: dict[str, Any], *, seed: int = 0, index: int = 0) -> list[Any]:
    return question_answers(subset, row, seed=seed, index=index)


def test_points_go_top_down_then_left_to_right() -> None:
    pointing, counting = pairs("pixmo-points", points_row())
    assert pointing.answer == (
        '<points x1="5.0" y1="3.2" x2="10.0" y2="20.0" x3="60.0" y3="20.0" alt="cups">cups</points>'
    )
    assert (pointing.type, counting.type, counting.answer) == ("point", "count", "3")
    assert "cups" in pointing.question
    assert "cups" in counting.question


def test_one_point_and_none() -> None:
    one, _ = pairs("pixmo-points", points_row(points=[{"x": 1, "y": 2}], count=1))
    assert one.answer == '<point x="1.0" y="2.0" alt="cups">cups</point>'
    none, zero = pairs("pixmo-points", points_row(points=[], count=0))
    assert (none.answer, zero.answer) == ("There are none.", "0")


def test_both_layouts_of_points_give_the_same() -> None:
    lists = {"x": [60.0, 10.04, 5.0], "y": [20.0, 20.0, 3.25]}
    assert pairs("pixmo-points", points_row(points=lists)) == pairs("pixmo-points", points_row())


def test_a_label_cannot_break_out_of_the_notation() -> None:
    label = 'a "big" <cup> & co'
    answer = pairs("pixmo-points", points_row(label=label))[0].answer
    assert 'alt="a &quot;big&quot; &lt;cup&gt; &amp; co"' in answer


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label": "  "}, "empty_label"),
        ({"label": None}, "empty_label"),
        ({"count": 2}, "count_mismatch"),
        ({"points": [{"x": 100.1, "y": 0}] * 3}, "point_outside"),
        ({"points": [{"x": None, "y": 0}] * 3}, "point_outside"),
        ({"points": [None] * 3}, "point_outside"),
        ({"points": {"x": [1.0, 2.0, 3.0], "y": [1.0]}}, "point_outside"),
    ],
)
def test_rows_that_make_no_pair(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        pairs("pixmo-points", points_row(**changes))
    assert caught.value.reason == reason


def test_the_template_is_a_function_of_seed_and_row() -> None:
    row = {"count": 4, "label": "dogs"}
    questions = [pairs("pixmo-count", row, index=index)[0].question for index in range(500)]
    assert questions == [pairs("pixmo-count", row, index=index)[0].question for index in range(500)]
    assert questions != [pairs("pixmo-count", row, seed=1, index=i)[0].question for i in range(500)]
    counted = Counter(questions)
    # 500 draws of five: each within five standard deviations (9) of 100
    assert set(counted) == {text.format(label="dogs") for text in COUNT_TEMPLATES}
    assert all(abs(count - 100) < 45 for count in counted.values())


def test_draws_for_two_purposes_are_independent() -> None:
    drawn = Counter((draw(0, i, "point", 5), draw(0, i, "count", 5)) for i in range(2000))
    assert len(drawn) == len(POINT_TEMPLATES) * len(COUNT_TEMPLATES)


def test_count_without_a_number() -> None:
    assert pairs("pixmo-count", {"count": 7, "label": "x"})[0].answer == "7"
    with pytest.raises(RowError, match="count_mismatch"):
        pairs("pixmo-count", {"count": None, "label": "x"})


def test_documents_give_a_pair_a_question() -> None:
    made = pairs("pixmo-docs", {"questions": {"question": ["a?", "b?"], "answer": ["1", "2"]}})
    assert [(pair.question, pair.answer, pair.type) for pair in made] == [
        ("a?", "1", "document"),
        ("b?", "2", "document"),
    ]
    with pytest.raises(RowError, match="question_answer_mismatch"):
        pairs("pixmo-docs", {"questions": {"question": ["a?"], "answer": []}})


@pytest.mark.parametrize(
    ("question", "turns"),
    [
        ("[USER] Tell a joke. [ASSISTANT]", [("Tell a joke.", "last")]),
        ("[USER]a?[ASSISTANT]b.[USER]c?[ASSISTANT]", [("a?", "b."), ("c?", "last")]),
        ("[USER] two\nlines\n[ASSISTANT] ", [("two\nlines", "last")]),
        ("No marks?", [("No marks?", "last")]),
    ],
)
def test_dialogues(question: str, turns: list[tuple[str, str]]) -> None:
    assert [(pair.question, pair.answer) for pair in dialogue(question, " last ")] == turns
    row = {"question": question, "answer": "last"}
    assert [(pair.question, pair.answer) for pair in pairs("pixmo-cap-qa", row)] == turns


@pytest.mark.parametrize("subset", ["pixmo-cap-qa", "pixmo-ask-model-anything"])
def test_a_turn_has_what_came_before_it(subset: str) -> None:
    row = {"question": "c?", "answer": "d"}
    for messages in (None, [], ["c?", "d"], ["c?"]):
        assert pairs(subset, {**row, "messages": messages})[0].history == ()
    for messages in (["a?", " b", "c? ", "d"], ["a?", "b", "c?"]):
        (pair,) = pairs(subset, {**row, "messages": messages})
        assert (pair.question, pair.answer, pair.history) == ("c?", "d", ("a?", "b"))
    for wrong in (["a?", "b"], ["b", "c?", "d"], ["a?", "", "c?", "d"], ["c?", "x"]):
        with pytest.raises(RowError, match="messages_mismatch"):
            pairs(subset, {**row, "messages": wrong})


def test_the_turns_of_a_dialogue_have_their_history() -> None:
    question = "[USER]a?[ASSISTANT]b.[USER]c?[ASSISTANT]d.[USER]e?[ASSISTANT]"
    assert [pair.history for pair in dialogue(question, "f")] == [
        (), ("a?", "b."), ("a?", "b.", "c?", "d."),
    ]  # fmt: skip


def test_questions_as_they_are_and_captions_refused() -> None:
    (pair,) = pairs("pixmo-ask-model-anything", {"question": "q", "answer": "a"})
    assert (pair.question, pair.answer, pair.type) == ("q", "a", "anything")
    with pytest.raises(ValueError, match="has no questions"):
        pairs("pixmo-cap", {"caption": "x"})
