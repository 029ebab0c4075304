"""Wordings: each type of question in many forms, one of which training never sees."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

WORDINGS: dict[str, dict[str, list[str] | str]] = json.loads(
    (Path(__file__).parent / "wordings.json").read_text()
)
CASES = {"lower": 0.5, "sentence": 0.4, "upper": 0.06, "title": 0.04}
NO_END_PROB = 0.25  # of a question losing its last mark
# Places and directions have several names too; the unseen wordings use all of them.
PLACES = {
    "top left": (
        "in the top left",
        "at the top left",
        "in the upper left",
        "in the top left corner",
    ),
    "top right": (
        "in the top right",
        "at the top right",
        "in the upper right",
        "in the top right corner",
    ),
    "bottom left": (
        "in the bottom left",
        "at the bottom left",
        "in the lower left",
        "in the bottom left corner",
    ),
    "bottom right": (
        "in the bottom right",
        "at the bottom right",
        "in the lower right",
        "in the bottom right corner",
    ),
    "left": ("on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right side", "at the right"),
    "top": ("at the top", "in the upper part"),
    "bottom": ("at the bottom", "in the lower part"),
    "center": ("in the middle", "in the center", "in the centre"),
}
ACCEPTED_PLACES = {
    "top left": ("upper left", "top left corner"),
    "top right": ("upper right", "top right corner"),
    "bottom left": ("lower left", "bottom left corner"),
    "bottom right": ("lower right", "bottom right corner"),
    "left": ("left side", "on the left"),
    "right": ("right side", "on the right"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "center": ("middle", "centre", "in the middle"),
}
SIDES = {
    "left": ("to the left of", "left of", "on the left of", "directly left of"),
    "right": ("to the right of", "right of", "on the right of", "directly right of"),
    "above": ("above", "directly above", "over"),
    "below": ("below", "directly below", "under", "beneath"),
    "beside": ("next to", "beside"),
}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")


def is_unseen(split: str) -> bool:
    """Whether the split uses the wordings that training never sees."""
    return split.endswith("wording")


def draw_wording(rng: Random, type_: str, split: str) -> tuple[str, str]:
    """One wording of the type for this split, and what it asks for if the type has variants."""
    found = WORDINGS[type_]
    wording = str(found["unseen"]) if is_unseen(split) else rng.choice(list(found["seen"]))
    text, _, variant = wording.partition("#")
    return text, variant


def dress(rng: Random, question: str) -> str:
    """The question as people type it: capital letters or none, with or without the last mark."""
    if rng.random() < NO_END_PROB:
        question = question.rstrip("?.")
    (case,) = rng.choices(list(CASES), list(CASES.values()))
    if case == "sentence":
        return question[:1].upper() + question[1:]
    if case == "upper":
        return question.upper()
    return question.title() if case == "title" else question
