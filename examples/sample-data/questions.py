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


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Asks about one scene; a method a type, ``None`` where the scene does not allow it.

    Attributes:
        scene: what is asked about.
        vocabulary: all words, for things that are not there.
        rng: draws what is asked about.
    """

    scene: Scene
    vocabulary: list[Word]
    rng: Random

    def exists(self) -> Question:
        """Half of the answers are yes; absent things come from the same words as present ones."""
        present = sorted(self.scene.counts, key=lambda word: word.word)
        absent = [word for word in self.vocabulary if word not in self.scene.counts]
        answer = self.rng.random() < 0.5
        word = self.rng.choice(present if answer else absent)
        return Question(
            type="exists",
            question=f"is there {article(word.word)}?",
            answer="yes" if answer else "no",
        )

    def count(self) -> Question:
        """Counts the repeated thing more often than the others, or most answers would be 1."""
        present = sorted(self.scene.counts.items(), key=lambda item: (-item[1], item[0].word))
        often = self.rng.random() < REPEATED_PROB
        word, count = present[0] if often else self.rng.choice(present)
        return Question(
            type="count", question=f"how many {word.plural} are there?", answer=str(count)
        )

    def total(self) -> Question:
        """All objects, whatever they are."""
        return Question(
            type="total",
            question="how many objects are there?",
            answer=str(len(self.scene.objects)),
        )

    def colour(self) -> Question:
        """The canvas behind the objects."""
        return Question(
            type="colour", question="what colour is the background?", answer=self.scene.colour
        )

    def position(self) -> Question:
        """Only about quarters that are not empty."""
        placed = self.rng.choice(self.scene.objects)
        return Question(
            type="position",
            question=f"what is in the {QUARTERS[placed.quarter]}?",
            answer=placed.word.word,
        )

    def where(self) -> Question | None:
        """Only for a thing that is there once: it has one place."""
        single = [p for p in self.scene.objects if self.scene.counts[p.word] == 1]
        if not single:
            return None
        placed = self.rng.choice(single)
        return Question(
            type="where",
            question=f"where is the {placed.word.word}?",
            answer=QUARTERS[placed.quarter],
        )

    def relation(self) -> Question | None:
        """Only for a thing that is there once and has a neighbour in its row or column."""
        found = []
        for placed in self.scene.objects:
            if self.scene.counts[placed.word] > 1:
                continue
            for relation, step in NEIGHBOURS.items():
                quarter = placed.quarter + step
                in_line = abs(step) == 2 or quarter // 2 == placed.quarter // 2
                neighbour = self.scene.at(quarter) if in_line else None
                if neighbour is not None:
                    found.append((relation, placed.word, neighbour))
        if not found:
            return None
        relation, word, neighbour = self.rng.choice(found)
        return Question(
            type="relation",
            question=f"what is {relation} the {word.word}?",
            answer=neighbour.word,
        )

    def kind(self) -> Question:
        """By place, not by name: "what kind of thing is the dog" needs no picture."""
        placed = self.rng.choice(self.scene.objects)
        return Question(
            type="kind",
            question=f"what kind of thing is in the {QUARTERS[placed.quarter]}?",
            answer=placed.word.kind,
        )

    def askers(self) -> dict[str, Callable[[], Question | None]]:
        """The types by name."""
        return {
            "exists": self.exists,
            "count": self.count,
            "total": self.total,
            "colour": self.colour,
            "position": self.position,
            "where": self.where,
            "relation": self.relation,
            "kind": self.kind,
        }


def ask(scene: Scene, vocabulary: list[Word], seed: int, split: str, index: int) -> list[Question]:
    """Ask ``NUM_QUESTIONS`` questions of different types; a function of (seed, split, index)."""
    rng = generator(seed, "questions", split, index)
    # Weighted sampling without replacement: the smallest of exponential waiting times come first.
    waits = {name: rng.expovariate(weight) for name, weight in WEIGHTS.items()}
    askers = Asker(scene=scene, vocabulary=vocabulary, rng=rng).askers()
    questions: list[Question] = []
    for name in (*ALWAYS, *sorted(waits, key=lambda name: waits[name])):
        question = askers[name]()
        if question is not None and len(questions) < NUM_QUESTIONS:
            questions.append(question)
    return questions
