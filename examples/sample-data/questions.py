"""Questions about a scene, whose answers follow from how the scene was put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from draws import generator
from scenes import QUARTERS, Scene, Word

NUM_QUESTIONS = 5
# How often a type is asked, before knowing whether the scene allows it. "exists" and "count" are in
# every scene's five; the rest share what is left.
WEIGHTS = {
    "total": 0.8,
    "colour": 0.6,
    "position": 1.0,
    "where": 0.8,
    "relation": 1.6,
    "kind": 0.8,
}
ALWAYS = ("exists", "count")
REPEATED_PROB = 0.8  # of counting the repeated thing where there is one
NEIGHBOURS = {
    "directly left of": -1,
    "directly right of": 1,
    "directly above": -2,
    "directly below": 2,
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question with its only right answer."""

    type: str
    question: str
    answer: str


def article(word: str) -> str:
    """The word with ``a`` or ``an``."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def ask_exists(scene: Scene, vocabulary: list[Word], rng: Random) -> Question | None:
    """Half of the answers are yes; absent things come from the same words as present ones."""
    present = sorted(scene.counts, key=lambda word: word.word)
    absent = [word for word in vocabulary if word not in scene.counts]
    answer = rng.random() < 0.5
    word = rng.choice(present if answer else absent)
    return Question(
        type="exists",
        question=f"is there {article(word.word)}?",
        answer="yes" if answer else "no",
    )


def ask_count(scene: Scene, vocabulary: list[Word], rng: Random) -> Question | None:
    """Counts the repeated thing more often than the others, or most answers would be 1."""
    present = sorted(scene.counts.items(), key=lambda item: (-item[1], item[0].word))
    chosen = present[0] if rng.random() < REPEATED_PROB else rng.choice(present)
    return Question(
        type="count", question=f"how many {chosen[0].plural} are there?", answer=str(chosen[1])
    )


def ask_total(scene: Scene, vocabulary: list[Word], rng: Random) -> Question | None:
    return Question(
        type="total", question="how many objects are there?", answer=str(len(scene.objects))
    )


def ask_colour(scene: Scene, vocabulary: list[Word], rng: Random) -> Question | None:
    return Question(type="colour", question="what colour is the background?", answer=scene.colour)


def ask_position(scene: Scene, vocabulary: list[Word], rng: Random) -> Question | None:
    placed = rng.choice(scene.objects)
    return Question(
        type="position",
        question=f"what is in the {QUARTERS[placed.quarter]}?",
        answer=placed.word.word,
    )


def ask_where(scene: Scene, vocabulary: list[Word], rng: Random) -> Question | None:
    """Only for a thing that is there once: it has one place."""
    single = [placed for placed in scene.objects if scene.counts[placed.word] == 1]
    if not single:
        return None
    placed = rng.choice(single)
    return Question(
        type="where",
        question=f"where is the {placed.word.word}?",
        answer=QUARTERS[placed.quarter],
    )


def ask_relation(scene: Scene, vocabulary: list[Word], rng: Random) -> Question | None:
    """Only for a thing that is there once and has a neighbour in its row or column."""
    found = []
    for placed in scene.objects:
        if scene.counts[placed.word] > 1:
            continue
        for relation, step in NEIGHBOURS.items():
            quarter = placed.quarter + step
            same_row = quarter // 2 == placed.quarter // 2
            neighbour = scene.at(quarter) if abs(step) == 2 or same_row else None
            if neighbour is not None:
                found.append((relation, placed.word, neighbour))
    if not found:
        return None
    relation, word, neighbour = rng.choice(found)
    return Question(
        type="relation", question=f"what is {relation} the {word.word}?", answer=neighbour.word
    )


def ask_kind(scene: Scene, vocabulary: list[Word], rng: Random) -> Question | None:
    """By place, not by name: "what kind of thing is the dog" needs no picture."""
    placed = rng.choice(scene.objects)
    return Question(
        type="kind",
        question=f"what kind of thing is in the {QUARTERS[placed.quarter]}?",
        answer=placed.word.kind,
    )


ASKERS: dict[str, Callable[[Scene, list[Word], Random], Question | None]] = {
    "exists": ask_exists,
    "count": ask_count,
    "total": ask_total,
    "colour": ask_colour,
    "position": ask_position,
    "where": ask_where,
    "relation": ask_relation,
    "kind": ask_kind,
}


def ask(scene: Scene, vocabulary: list[Word], seed: int, split: str, index: int) -> list[Question]:
    """Ask ``NUM_QUESTIONS`` questions of different types; a function of (seed, split, index)."""
    rng = generator(seed, "questions", split, index)
    # Weighted sampling without replacement: the smallest of exponential waiting times come first.
    waits = {name: rng.expovariate(weight) for name, weight in WEIGHTS.items()}
    questions: list[Question] = []
    for name in (*ALWAYS, *sorted(waits, key=lambda name: waits[name])):
        question = ASKERS[name](scene, vocabulary, rng)
        if question is not None and len(questions) < NUM_QUESTIONS:
            questions.append(question)
    return questions
