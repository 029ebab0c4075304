"""Answers are checked against a second reading of the scene, written from the question's text."""

import re
from collections import Counter

import pytest
from questions import NUM_QUESTIONS, Question, article, ask
from scenes import COLOURS, QUARTERS, Placed, Scene, Word, draw_scene

VOCABULARY = [
    Word(hexcode=f"{i:X}", word=f"{name}", plural=f"{name}s", kind=kind)
    for i, (name, kind) in enumerate(
        (f"{kind} {letter}", kind) for kind in ("animal", "fruit", "vehicle") for letter in "abcd"
    )
]
SCENES = [draw_scene(VOCABULARY, ("a",), 0, "train", index) for index in range(3000)]
ASKED = [ask(scene, VOCABULARY, 0, "train", index) for index, scene in enumerate(SCENES)]
NUMBERS = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}


def answer(scene: Scene, question: str) -> str:
    """Answer a question by reading its words and looking at the grid."""
    grid: list[list[str]] = [["", ""], ["", ""]]
    kinds = {}
    for placed in scene.objects:
        grid[placed.quarter // 2][placed.quarter % 2] = placed.word.word
        kinds[placed.word.word] = placed.word.kind
    cells = {
        f"{v} {h}": grid[r][c]
        for r, v in enumerate(("top", "bottom"))
        for c, h in enumerate(("left", "right"))
    }
    shown = Counter(name for name in cells.values() if name)
    if found := re.fullmatch(r"is there an? (.+)\?", question):
        return "yes" if found[1] in shown else "no"
    if question == "how many objects are there?":
        return str(shown.total())
    if found := re.fullmatch(r"how many (.+)s are there\?", question):
        return str(shown[found[1]])
    if question == "what colour is the background?":
        return scene.colour
    if found := re.fullmatch(r"what is in the (.+)\?", question):
        return cells[found[1]]
    if found := re.fullmatch(r"what kind of thing is in the (.+)\?", question):
        return kinds[cells[found[1]]]
    if found := re.fullmatch(r"where is the (.+)\?", question):
        (place,) = [place for place, name in cells.items() if name == found[1]]
        return place
    found = re.fullmatch(r"what is directly (left of|right of|above|below) the (.+)\?", question)
    assert found is not None, question
    (cell,) = [(r, c) for r in range(2) for c in range(2) if grid[r][c] == found[2]]
    down, right = NUMBERS[found[1].split()[0]]
    row, column = cell[0] + down, cell[1] + right
    assert row in (0, 1)
    assert column in (0, 1)
    return grid[row][column]


def test_every_answer_is_right() -> None:
    for scene, questions in zip(SCENES, ASKED, strict=True):
        for question in questions:
            assert question.answer == answer(scene, question.question) != ""


def test_five_questions_of_different_types() -> None:
    for questions in ASKED:
        assert len({question.type for question in questions}) == len(questions) == NUM_QUESTIONS


def test_questions_are_functions_of_seed_split_and_index() -> None:
    assert ask(SCENES[5], VOCABULARY, 0, "train", 5) == ASKED[5]
    assert ask(SCENES[5], VOCABULARY, 1, "train", 5) != ASKED[5]


def by_type() -> dict[str, list[Question]]:
    asked: dict[str, list[Question]] = {}
    for questions in ASKED:
        for question in questions:
            asked.setdefault(question.type, []).append(question)
    return asked


@pytest.mark.parametrize(
    ("type_", "share", "majority"),
    [
        ("exists", 0.20, 0.5),
        ("count", 0.20, 0.45),
        ("position", 0.135, 1 / 12),
        ("kind", 0.12, 1 / 3),
        ("total", 0.12, 0.3),
        ("colour", 0.10, 1 / 8),
        ("relation", 0.065, 1 / 12),
        ("where", 0.065, 1 / 4),
    ],
)
def test_types_are_balanced_and_answers_hard_to_guess(
    type_: str, share: float, majority: float
) -> None:
    asked = by_type()
    total = sum(map(len, asked.values()))
    assert abs(len(asked[type_]) / total - share) < 0.03
    most = Counter(question.answer for question in asked[type_]).most_common(1)[0][1]
    # 0.05 is three standard deviations for the rarest type, about 900 questions.
    assert most / len(asked[type_]) < majority + 0.05


def test_whether_a_thing_is_there_cannot_be_told_from_its_name() -> None:
    answers: dict[str, Counter[str]] = {}
    for question in by_type()["exists"]:
        answers.setdefault(question.question, Counter())[question.answer] += 1
    for counter in answers.values():
        # About 250 questions a word: five standard deviations.
        assert abs(counter["yes"] / counter.total() - 0.5) < 0.16


def test_all_types_are_of_one_crowded_scene() -> None:
    crowd = Scene(
        hand="a",
        colour="red",
        rgb=COLOURS["red"],
        objects=tuple(
            Placed(word=VOCABULARY[q], quarter=q, size=40, shift=(0, 0)) for q in range(4)
        ),
    )
    types = {q.type for i in range(200) for q in ask(crowd, VOCABULARY, 0, "train", i)}
    assert len(types) == 8
    assert QUARTERS == ("top left", "top right", "bottom left", "bottom right")


def test_article() -> None:
    assert (article("apple"), article("dog")) == ("an apple", "a dog")
