"""ANLS against distances worked out by hand and the recursive definition."""

from __future__ import annotations

import random
from functools import cache

import pytest

from edge_glass.training.evaluation.rules.anls import anls, edit_distance


@cache
def defined(left: str, right: str) -> int:
    if not left or not right:
        return len(left) + len(right)
    return min(
        defined(left[1:], right) + 1,
        defined(left, right[1:]) + 1,
        defined(left[1:], right[1:]) + (left[0] != right[0]),
    )


def test_edit_distance_follows_its_definition() -> None:
    draw = random.Random(1)
    for _ in range(200):
        left, right = ("".join(draw.choices("abc", k=draw.randrange(7))) for _ in range(2))
        assert edit_distance(left, right) == defined(left, right)


@pytest.mark.parametrize(
    ("given", "answers", "score"),
    [
        ("Kitten", ["sitting"], 1 - 3 / 7),
        ("$ 1,200", ["$1,200"], 1 - 1 / 7),
        ("ab", ["ac"], 0.5),  # a half counts
        ("abc", ["axy"], 0.0),
        ("New  York ", ["nope", "new york"], 1.0),
        ("", ["x"], 0.0),
    ],
)
def test_anls(given: str, answers: list[str], score: float) -> None:
    assert anls(given, answers) == pytest.approx(score, abs=1e-12)
