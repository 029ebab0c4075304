"""Wordings: each type of question in many forms, some of which training never sees."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Collection
from pathlib import Path
from random import Random

# Of each type: those of training, and those of the splits `val_wording` and `test_wording`.
WORDINGS: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "wordings.json").read_text()
)
CASES = {"lower": 0.5, "sentence": 0.4, "upper": 0.06, "title": 0.04}
NO_END_PROB = 0.25  # of a question losing its last mark
CONTRACTED_PROB = 0.15  # of "what is" becoming "what's"
LEAD_PROB = 0.1  # of a question beginning with one of these
LEADS = ("please, ", "hey, ", "ok, ", "excuse me, ")
QUESTION_LEADS = ("quick question: ", "one more: ")  # not in front of "count the dogs."
POLITE_PROB = 0.05  # of ", please" at the end
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
OPPOSITE = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "beside": "beside",
}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")


def wordings(type_: str, split: str) -> list[str]:
    """The wordings of a type in this split; `val_wording` and `test_wording` have their own."""
    return WORDINGS[type_][split.partition("_")[0] if split.endswith("_wording") else "train"]


def draw_wording(
    rng: Random, type_: str, split: str, variants: Collection[str] = ()
) -> tuple[str, str]:
    """One wording of the type for this split, and its variant: what follows ``#`` in the file.

    If ``variants`` are given, one with such a variant, each variant equally often; any wording if
    the split has none.
    """
    known = [wording.partition("#") for wording in wordings(type_, split)]
    if found := sorted({variant for _, _, variant in known} & set(variants)):
        drawn = rng.choice(found)
        known = [each for each in known if each[2] == drawn]
    text, _, variant = rng.choice(known)
    return text, variant


def dress(rng: Random, question: str) -> str:
    """The question as people type it: "what's", "please", capital letters, no last mark."""
    end = question[-1]
    question = question[:-1]
    if rng.random() < CONTRACTED_PROB:
        question = re.sub(r"\b(what|where|there) is\b(?! it)", r"\1's", question, count=1)
    plain = "please" not in question and not question.startswith(("hey, ", "so "))
    drawn = rng.random()
    if drawn < LEAD_PROB and plain:
        leads = LEADS + QUESTION_LEADS if end == "?" else LEADS
        question = rng.choice(leads) + question
    elif drawn < LEAD_PROB + POLITE_PROB and plain:
        question += ", please"
    if rng.random() >= NO_END_PROB:
        question += end
    (case,) = rng.choices(list(CASES), list(CASES.values()))
    if case == "sentence":
        return question[:1].upper() + question[1:]
    if case == "upper":
        return question.upper()
    return string.capwords(question) if case == "title" else question
