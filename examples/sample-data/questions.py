"""Questions about a scene, whose answers follow from how the scene was put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from backgrounds import COLOURS
from draws import generator
from nouns import plural, with_article
from relations import beside, occupant, places, region
from scenes import Placed, Scene
from wordings import ACCEPTED_PLACES, NUMBERS, OPPOSITE, PLACES, SIDES, draw_wording, dress
from words import Word, draw_words

NUM_QUESTIONS = {"train": 8}
OTHERWISE = 6  # questions of a scene in the other splits
# How often a type is asked, before knowing whether the scene allows it.
WEIGHTS = {
    "exists": 0.9,
    "count": 1.2,
    "total": 1.0,
    "colour": 1.2,
    "position": 1.6,
    "where": 1.0,
    "relation": 2.0,
    "kind": 1.0,
    "what": 8.0,
    "compare": 1.4,
    "size": 8.0,
}
# About different things. Unseen things get "exists" once: their splits are easiest to guess.
TWICE = ("exists", "count", "position", "where", "relation", "kind", "size")
REPEATED_PROB = 0.75  # of counting the thing that is there most often
ZERO_PROB = 0.1  # of counting a thing that is not there
SAME_KIND_PROB = 0.25  # of an absent thing being of the kind of one that is there
EQUAL_PROB = 0.3  # of "no" being about equal numbers
ALSO_PROB = 0.15  # of a thing being called by a different name, if it has one
MUCH_LARGER = 1.35  # sides differ at least so much if somebody asks for sizes
# What a wording of "size" asks for: whether one thing is bigger, which of two, which of all.
SIZES = (("",), ("bigger", "smaller"), ("biggest", "smallest"))
# What a wording of "colour" asks for: which colour (twice as often), or whether it is a given one.
SHADES = (("",), ("",), ("is",))
ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question with its answers.

    Attributes:
        type: one of ``WEIGHTS``.
        question: as a person types it.
        answer: the usual right answer.
        answers: all right answers, the usual one first.
    """

    type: str
    question: str
    answers: tuple[str, ...]

    @property
    def answer(self) -> str:
        """The usual right answer."""
        return self.answers[0]


def number(value: int) -> tuple[str, ...]:
    """A number as a digit and as a word."""
    return (str(value), NUMBERS[value], *(("none", "no") if value == 0 else ()))


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Asks about one scene; a method per type, ``None`` if the scene does not allow it.

    Answers are never the name of a held-out thing: nobody could know it. Questions name it.

    Attributes:
        scene: what is asked about.
        words: the things of training, for what is not there.
        unseen: the held-out things of this split; may be empty.
        rng: draws what is asked about.
        split: decides which wordings are used.
    """

    scene: Scene
    words: list[Word]
    unseen: list[Word]
    rng: Random
    split: str

    def asked(self, type_: str, answers: tuple[str, ...], **slots: str) -> Question:
        """A question in a drawn wording."""
        text, _ = draw_wording(self.rng, type_, self.split)
        return self.filled(type_, text, answers, **slots)

    def filled(self, type_: str, text: str, answers: tuple[str, ...], **slots: str) -> Question:
        """A question in a given wording."""
        return Question(type=type_, question=dress(self.rng, text.format(**slots)), answers=answers)

    def name(self, word: Word) -> str:
        """What the question calls a thing."""
        if word.also and self.rng.random() < ALSO_PROB:
            return self.rng.choice(word.also)
        return word.word

    def preferred(self, words: list[Word]) -> list[Word]:
        """The held-out ones among the words, if there are any."""
        return [word for word in words if word.held_out] or words

    def present(self) -> list[Word]:
        """What is there, held-out things before all others."""
        return self.preferred(sorted(self.scene.counts, key=lambda word: word.word))

    def absent(self) -> Word:
        """A thing that is not there."""
        pool = [word for word in (self.unseen or self.words) if word not in self.scene.counts]
        if self.rng.random() < SAME_KIND_PROB:
            kinds = {word.kind for word in self.scene.counts}
            pool = [word for word in pool if word.kind in kinds] or pool
        return draw_words(self.rng, pool, 1)[0]

    def single(self) -> list[Placed]:
        """The objects whose word names only them; held-out ones if there are any."""
        found = [p for p in self.scene.objects if self.scene.counts[p.word] == 1]
        return [p for p in found if p.word.held_out] or found

    def exists(self) -> Question:
        """Half of the answers are yes."""
        there = self.rng.random() < 0.5
        name = self.name(self.rng.choice(self.present()) if there else self.absent())
        answers = ("yes",) if there else ("no",)
        return self.asked("exists", answers, one=with_article(name), many=plural(name))

    def count(self) -> Question:
        """Counts the repeated thing more often than the others, or most answers would be 1."""
        if self.rng.random() < ZERO_PROB:
            return self.asked("count", number(0), many=plural(self.name(self.absent())))
        present = sorted(self.present(), key=lambda word: -self.scene.counts[word])
        often = self.rng.random() < REPEATED_PROB
        word = present[0] if often else self.rng.choice(present)
        return self.asked("count", number(self.scene.counts[word]), many=plural(self.name(word)))

    def total(self) -> Question:
        """All objects, whatever they are."""
        return self.asked("total", number(len(self.scene.objects)))

    def colour(self) -> Question | None:
        """What is behind the objects, if that has one colour; some wordings ask for yes or no."""
        colour = self.scene.background.colour
        if not colour:
            return None
        text, variant = draw_wording(self.rng, "colour", self.split, self.rng.choice(SHADES))
        if not variant:
            return self.filled("colour", text, (colour, *COLOURS[colour].accepted))
        yes = self.rng.random() < 0.5
        shade = colour if yes else self.rng.choice([name for name in COLOURS if name != colour])
        return self.filled("colour", text, ("yes",) if yes else ("no",), shade=shade)

    def position(self) -> Question | None:
        """Only about places with one object."""
        found = [(p, o) for p, o in places(self.scene).items() if not o.word.held_out]
        if not found:
            return None
        spot, placed = self.rng.choice(found)
        place = self.rng.choice(PLACES[spot])
        return self.asked("position", placed.word.names, place=place)

    def where(self) -> Question | None:
        """Only for a thing that is there once and stands clearly somewhere."""
        found = [(p, region(self.scene, p)) for p in self.single()]
        clear = [(p, spot) for p, spot in found if spot]
        if not clear:
            return None
        placed, spot = self.rng.choice(clear)
        answers = (spot, *ACCEPTED_PLACES[spot])
        return self.asked("where", answers, word=self.name(placed.word))

    def relation(self) -> Question | None:
        """Only for a thing that is there once, and a side with one clear neighbour."""
        found = []
        for placed in self.single():
            found += [(s, placed.word, n) for s, n in beside(self.scene, placed).items()]
        found = [each for each in found if not each[2].held_out]
        if not found:
            return None
        side, word, neighbour = self.rng.choice(found)
        text, _ = draw_wording(self.rng, "relation", self.split)
        slots = {"word": self.name(word)}
        for slot, each in (("side", side), ("inverse", OPPOSITE[side])):
            slots[slot] = self.rng.choice(SIDES[each])
        return self.filled("relation", text, neighbour.names, **slots)

    def kind(self) -> Question | None:
        """By place, not by name: "what kind of thing is the dog" needs no image."""
        found = list(places(self.scene).items())
        found = [each for each in found if each[1].word.held_out] or found
        if not found:
            return None
        spot, placed = self.rng.choice(found)
        place = self.rng.choice(PLACES[spot])
        return self.asked("kind", placed.word.kinds, place=place)

    def what(self) -> Question | None:
        """Only if there is one object."""
        only = occupant(self.scene)
        if only is None or only.held_out:
            return None
        return self.asked("what", only.names)

    def compare(self) -> Question:
        """Half of the answers are yes; equal numbers are neither more nor fewer.

        One thing may be absent, or only a quarter of the scenes would allow the question.
        """
        counts = self.scene.counts
        words = [*sorted(counts, key=lambda word: word.word), self.absent()]
        ordered = [(a, b) for a in words for b in words if counts[a] > counts[b]]
        ordered = [pair for pair in ordered if any(w.held_out for w in pair)] or ordered
        more, fewer = self.rng.choice(ordered)
        yes = self.rng.random() < 0.5
        if not yes:
            more, fewer = fewer, more
            equal = [(a, b) for a in words for b in words if a != b and counts[a] == counts[b]]
            if equal and self.rng.random() < EQUAL_PROB:
                more, fewer = self.rng.choice(equal)
        slots = {"more": plural(self.name(more)), "fewer": plural(self.name(fewer))}
        return self.asked("compare", ("yes",) if yes else ("no",), **slots)

    def size(self) -> Question | None:
        """Only for things that differ clearly in size, and by name only if they are there once."""
        text, variant = draw_wording(self.rng, "size", self.split, self.rng.choice(SIZES))
        if variant in ("biggest", "smallest"):
            extreme = self.extreme(largest=variant == "biggest")
            return None if extreme is None else self.filled("size", text, extreme.names)
        single = [p for p in self.scene.objects if self.scene.counts[p.word] == 1]
        pairs = [(a, b) for a in single for b in single if a.box.side > MUCH_LARGER * b.box.side]
        if not pairs:
            return None
        large, small = (placed.word for placed in self.rng.choice(pairs))
        if variant:
            chosen = large if variant == "bigger" else small
            first, second = self.rng.sample([small, large], 2)
            slots = {"first": self.name(first), "second": self.name(second)}
            return None if chosen.held_out else self.filled("size", text, chosen.names, **slots)
        yes = self.rng.random() < 0.5
        if not yes:
            small, large = large, small
        slots = {"small": self.name(small), "large": self.name(large)}
        return self.filled("size", text, ("yes",) if yes else ("no",), **slots)

    def extreme(self, *, largest: bool) -> Word | None:
        """The largest or smallest thing, if all others differ clearly from it and it is known."""
        ordered = sorted(self.scene.objects, key=lambda p: p.box.side, reverse=largest)
        if len(ordered) < 2:
            return None
        first, second = ordered[0].box.side, ordered[1].box.side
        clear = max(first, second) >= MUCH_LARGER * min(first, second)
        return ordered[0].word if clear and not ordered[0].word.held_out else None

    def askers(self) -> dict[str, Callable[[], Question | None]]:
        """The types by name."""
        return {type_: getattr(self, type_) for type_ in WEIGHTS}


def ask(
    scene: Scene, words: list[Word], unseen: list[Word], seed: int, split: str, index: int
) -> list[Question]:
    """Ask different questions about a scene; a function of (seed, split, index).

    Returns:
        Eight questions in training and six elsewhere; fewer if the scene allows no more.
    """
    rng = generator(seed, "questions", split, index)
    asker = Asker(scene=scene, words=words, unseen=unseen, rng=rng, split=split)
    askers = asker.askers()
    # Weighted sampling without replacement: the smallest of exponential waiting times come first.
    waits = [
        (rng.expovariate(weight), time, name)
        for name, weight in WEIGHTS.items()
        for time in range(1 + (name in TWICE and not (unseen and name == "exists")))
    ]
    found: dict[str, Question] = {}
    for _, _, name in sorted(waits):
        for _ in range(ATTEMPTS):
            question = askers[name]()
            if question is not None and question.question.lower() not in found:
                found[question.question.lower()] = question
                break
        if len(found) == NUM_QUESTIONS.get(split, OTHERWISE):
            break
    return list(found.values())
