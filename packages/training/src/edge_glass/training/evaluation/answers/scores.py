"""Scores of short answers: normalised exact match, token F1, by question type, and controls."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edge_glass.encoders.limits import check_at_least

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER_WORDS = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12",
}  # fmt: skip
_GROUPED_DIGITS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"-?\d+\.\d+|(?<![\w-])-\d+")


@dataclass(frozen=True, kw_only=True)
class EvaluateVlmQaConfig:
    """How answers are measured.

    Attributes:
        batch_size: questions answered at once; changes speed, not answers.
        sheet_questions: at most so many questions on a sheet of examples.
        rules: from a question type to the published rule that scores it besides exact match.
    """

    batch_size: int
    sheet_questions: int
    rules: dict[str, Literal["anls", "relaxed_accuracy"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_at_least(self, 1, "batch_size", "sheet_questions")


def normalise(answer: str) -> str:
    """Returns the answer in lower case, without articles and punctuation, numbers as digits.

    Punctuation becomes a space, so that "top-left" equals "top left"; within a number it keeps its
    meaning ("1.5", "-3"; "1,000" equals "1000"). An answer of only articles or punctuation keeps
    them: "A" is an answer to "which letter?".
    """
    folded = _GROUPED_DIGITS.sub("", unicodedata.normalize("NFKC", answer).casefold())
    plain, end = [], 0
    for number in _NUMBER.finditer(folded):
        plain += [_without_punctuation(folded[end : number.start()]), number.group()]
        end = number.end()
    words = "".join([*plain, _without_punctuation(folded[end:])]).split()
    words = words or folded.split()
    words = [word for word in words if word not in _ARTICLES] or words
    return " ".join(_NUMBER_WORDS.get(word, word) for word in words)


def exact_match(prediction: str, truth: str) -> bool:
    """Returns whether both are equal after `normalise`; an empty prediction never is."""
    normalised = normalise(prediction)
    return bool(normalised) and normalised == normalise(truth)


def token_f1(prediction: str, truth: str) -> float:
    """Returns the harmonic mean of the words' precision and recall, counted with repetition."""
    found, expected = Counter(normalise(prediction).split()), Counter(normalise(truth).split())
    shared = (found & expected).total()
    return 2 * shared / (found.total() + expected.total()) if shared else 0.0


def accuracy(predictions: Sequence[str], truths: Sequence[str]) -> float:
    """Returns the share of exact matches."""
    return _mean(exact_match, predictions, truths)


def vqa_metrics(
    predictions: Sequence[str], truths: Sequence[str], types: Sequence[str]
) -> dict[str, float | dict[str, float]]:
    """Returns accuracy and token F1 of all, and by type in order: "by_type", "f1_by_type"."""
    _check(predictions, truths, types)
    columns = {kind: _of_type(kind, types, predictions, truths) for kind in sorted(set(types))}
    return {
        "accuracy": accuracy(predictions, truths),
        "f1": _mean(token_f1, predictions, truths),
        "by_type": {kind: accuracy(*both) for kind, both in columns.items()},
        "f1_by_type": {kind: _mean(token_f1, *both) for kind, both in columns.items()},
    }


def turn_metrics(
    predictions: Sequence[str], truths: Sequence[str], turns: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Returns {"by_turn": accuracy by the turn's number}, or nothing if all turns are the first."""
    if max(turns) == 1:
        return {}
    names = [str(turn) for turn in turns]
    return {
        "by_turn": {
            name: accuracy(*_of_type(name, names, predictions, truths))
            for name in map(str, sorted(set(turns)))
        }
    }


def majority_answers(answers: Sequence[str], types: Sequence[str]) -> dict[str, str]:
    """Returns the most frequent training answer of each type; among equals the first in order.

    Answers that are equal after `normalise` count as one, and are returned in that form.
    """
    _check(answers, types)
    majority = {}
    for kind in sorted(set(types)):
        counts = Counter(normalise(answer) for answer in _of_type(kind, types, answers)[0])
        majority[kind] = min(counts, key=lambda answer: (-counts[answer], answer))
    return majority


def majority_predictions(majority: Mapping[str, str], types: Sequence[str]) -> list[str]:
    """Answers each question by the majority of its type; an unseen type gets an empty answer."""
    return [majority.get(kind, "") for kind in types]


def visual_reliance(
    predictions: Sequence[str], shuffled: Sequence[str], truths: Sequence[str]
) -> float:
    """Returns the accuracy minus that with shuffled images: what the image contributes."""
    return accuracy(predictions, truths) - accuracy(shuffled, truths)


def _without_punctuation(text: str) -> str:
    return "".join(
        " " if unicodedata.category(letter).startswith("P") else letter for letter in text
    )


def _of_type(kind: str, types: Sequence[str], *columns: Sequence[str]) -> list[list[str]]:
    return [
        [value for value, of in zip(column, types, strict=True) if of == kind] for column in columns
    ]


def _mean(
    score: Callable[[str, str], float], predictions: Sequence[str], truths: Sequence[str]
) -> float:
    _check(predictions, truths)
    return math.fsum(map(score, predictions, truths)) / len(truths)


def _check(*columns: Sequence[str]) -> None:
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(
            f"found columns of {lengths} rows; expected equal numbers of predictions, answers and "
            "types, and at least one"
        )
