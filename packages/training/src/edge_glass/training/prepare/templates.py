"""Rows of any PixMo sub-set as question-answer pairs, by fixed templates.

Coordinates are 0 to 100 of width and height with one decimal; points are sorted from top to bottom,
then from left to right. The answer is in Molmo's notation:
`<point x="10.0" y="20.5" alt="cup">cup</point>`, for more than one
`<points x1="10.0" y1="20.5" x2="30.1" y2="5.0" alt="cup">cup</points>`, for none `There are none.`
The template of a row is a function of (seed, row number), so order, processes and reruns do not
change it. Of pixmo-count only the counts are used, because the unit of its points is not stated.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any

POINT_TEMPLATES = (
    "Point to {label}.",
    "Where in the picture is {label}? Point to it.",
    "Show me {label} by pointing.",
    "Point out each {label} in the picture.",
    "Locate {label} with points.",
)
COUNT_TEMPLATES = (
    "How many {label} are there?",
    "How many {label} are in the picture?",
    "Count {label}.",
    "What is the number of {label} in the picture?",
    "Give the count of {label}.",
)
NO_POINTS = "There are none."
TURN = re.compile(r"\s*\[(USER|ASSISTANT)\]\s*")


class RowError(ValueError):
    """A row that makes no pair; `reason` is a short name for the counts."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class QuestionAnswer:
    """One pair.

    Attributes:
        question: the text.
        answer: the text that is learned.
        type: scores are grouped by it.
        history: what user and assistant wrote before, in turn; empty for a single question.
    """

    question: str
    answer: str
    type: str
    history: tuple[str, ...] = ()


def question_answers(
    subset: str, row: Mapping[str, Any], *, seed: int, index: int
) -> list[QuestionAnswer]:
    """Returns the pairs of one row.

    Args:
        subset: a name of `schemas.SUBSETS` other than pixmo-cap, which has captions.
        row: its columns.
        seed: of the run.
        index: the number of the row in its sub-set; with the seed it draws the template.

    Raises:
        RowError: "empty_label", "count_mismatch", "point_outside", "question_answer_mismatch" or
            "messages_mismatch".
    """
    if subset == "pixmo-points":
        label, points = _label(row), point_list(row["points"])
        if row["count"] is not None and row["count"] != len(points):
            raise RowError("count_mismatch", f"count is {row['count']}, points are {len(points)}")
        pointing = _pointing(label, points, seed, index)
        return [pointing, _counting(label, len(points), seed, index)]
    if subset == "pixmo-points-eval":
        label, points = _label(row), point_list(row["points"])
        return [_pointing(label, points, seed, index)]
    if subset == "pixmo-count":
        return [_counting(_label(row), row["count"], seed, index)]
    if subset == "pixmo-docs":
        found = row["questions"] or {}
        questions, answers = found.get("question") or [], found.get("answer") or []
        if len(questions) != len(answers):
            raise RowError(
                "question_answer_mismatch", f"{len(questions)} questions, {len(answers)} answers"
            )
        return [
            QuestionAnswer(question=question, answer=answer, type="document")
            for question, answer in zip(questions, answers, strict=True)
        ]
    if subset == "pixmo-cap-qa":
        return dialogue(row["question"] or "", row["answer"] or "", row.get("messages"))
    if subset == "pixmo-ask-model-anything":
        question, answer = row["question"] or "", row["answer"] or ""
        pair = QuestionAnswer(
            question=question,
            answer=answer,
            type="anything",
            history=history_of(row.get("messages"), question, answer),
        )
        return [pair]
    raise ValueError(f"{subset!r} has no questions, points or counts")


def dialogue(
    question: str, answer: str, messages: Sequence[str] | None = None
) -> list[QuestionAnswer]:
    """Splits `[USER] … [ASSISTANT] … [USER] … [ASSISTANT]` of pixmo-cap-qa into its turns.

    A question without marks is one turn; `messages`, if given, have what came before it.
    """
    parts = TURN.split(question.strip())
    # split returns the text before the first mark, then mark, text, mark, text …
    turns = [
        (mark, text.strip()) for mark, text in zip(parts[1::2], parts[2::2], strict=True) if text
    ]
    if not turns:
        history = history_of(messages, parts[0], answer)
        return [
            QuestionAnswer(
                question=parts[0], answer=answer.strip(), type="caption", history=history
            )
        ]
    turns.append(("ASSISTANT", answer.strip()))
    pairs: list[QuestionAnswer] = []
    said: tuple[str, ...] = ()
    for (first_mark, first), (second_mark, second) in pairwise(turns):
        if (first_mark, second_mark) == ("USER", "ASSISTANT"):
            pairs.append(
                QuestionAnswer(question=first, answer=second, type="caption", history=said)
            )
            said = (*said, first, second)
    return pairs


def history_of(messages: Sequence[str] | None, question: str, answer: str) -> tuple[str, ...]:
    """Returns what came before a question in the `messages` of its conversation.

    The messages are user and assistant in turn, up to and with this question, or with its answer.

    Raises:
        RowError: "messages_mismatch" if they do not end so, or one of them is empty.
    """
    said = [(message or "").strip() for message in messages or []]
    if not said:
        return ()
    end = [question.strip(), answer.strip()]
    earlier = said[:-2] if said[-2:] == end else said[:-1]
    if len(earlier) % 2 or [*earlier, *end][: len(said)] != said or not all(said):
        raise RowError(
            "messages_mismatch",
            f"{len(said)} messages do not end with the question and answer of the row",
        )
    return tuple(earlier)


def point_list(points: Any) -> list[tuple[float, float]]:
    """Reads both layouts of points; returns (x, y) from top to bottom, then from left to right.

    Raises:
        RowError: "point_outside" if a point is not within 0 to 100, or lacks a coordinate.
    """
    if isinstance(points, Mapping):
        pairs = list(zip_longest(points["x"] or [], points["y"] or []))
    else:
        pairs = [(point["x"], point["y"]) if point else (None, None) for point in points or []]
    for x, y in pairs:
        if x is None or y is None or not (0 <= x <= 100 and 0 <= y <= 100):
            raise RowError("point_outside", f"({x}, {y}) is not within 0 to 100")
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def point_answer(label: str, points: list[tuple[float, float]]) -> str:
    """Writes points in Molmo's notation."""
    if not points:
        return NO_POINTS
    name = html.escape(label)
    if len(points) == 1:
        ((x, y),) = points
        return f'<point x="{x:.1f}" y="{y:.1f}" alt="{name}">{name}</point>'
    numbered = " ".join(f'x{i}="{x:.1f}" y{i}="{y:.1f}"' for i, (x, y) in enumerate(points, 1))
    return f'<points {numbered} alt="{name}">{name}</points>'


def draw(seed: int, index: int, purpose: str, choices: int) -> int:
    """Draws a number below `choices`, a function of the arguments."""
    digest = hashlib.sha256(f"{seed}:{index}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % choices


def _pointing(
    label: str, points: list[tuple[float, float]], seed: int, index: int
) -> QuestionAnswer:
    template = POINT_TEMPLATES[draw(seed, index, "point", len(POINT_TEMPLATES))]
    return QuestionAnswer(
        question=template.format(label=label), answer=point_answer(label, points), type="point"
    )


def _counting(label: str, count: int | None, seed: int, index: int) -> QuestionAnswer:
    if count is None or count < 0:
        raise RowError("count_mismatch", f"count is {count}")
    template = COUNT_TEMPLATES[draw(seed, index, "count", len(COUNT_TEMPLATES))]
    return QuestionAnswer(question=template.format(label=label), answer=str(count), type="count")


def _label(row: Mapping[str, Any]) -> str:
    label = (row["label"] or "").strip()
    if not label:
        raise RowError("empty_label", "nothing to point to")
    return str(label)
