"""A second reading of a scene: answers a question from its text and the geometry alone."""

from __future__ import annotations

import re
from collections import Counter

from backgrounds import COLOURS
from nouns import plural, with_article
from questions import Question
from scenes import Placed, Scene
from wordings import LEADS, OPPOSITE, PLACES, QUESTION_LEADS, SIDES, wordings
from words import Word

PHRASES = {phrase: spot for spot, phrases in PLACES.items() for phrase in phrases}
RELATIONS = {phrase: side for side, phrases in SIDES.items() for phrase in phrases}


def undressed(text: str) -> str:
    """The text in lower case, with "is" for "'s", without a lead, ", please" and the last mark."""
    text = re.sub(rf"^({'|'.join(LEADS + QUESTION_LEADS)})|(, please)?[?.]?$", "", text.lower())
    return re.sub(r"\b(what|where|there)'s\b", r"\1 is", text)


class Reader:
    """Answers questions about scenes that show words of a vocabulary."""

    def __init__(self, vocabulary: list[Word]) -> None:
        names = [(name, word) for word in vocabulary for name in (word.word, *word.also)]
        self.words = dict(names)
        self.one = {with_article(name): word for name, word in names}
        self.many = {plural(name): word for name, word in names}

    def slots(self, question: Question, split: str) -> tuple[str, dict[str, str]]:
        """The wording in lower case, and what stands in its slots."""
        text = undressed(question.question)
        allowed = {
            "one": self.one, "many": self.many, "more": self.many, "fewer": self.many,
            "word": self.words, "large": self.words, "small": self.words,
            "first": self.words, "second": self.words, "place": PHRASES, "side": RELATIONS,
            "inverse": RELATIONS, "shade": COLOURS,
        }  # fmt: skip
        for wording in wordings(question.type, split):
            pattern = re.escape(undressed(wording.partition("#")[0]))
            for name, values in allowed.items():  # a slot may occur twice
                slot, value = re.escape(f"{{{name}}}"), ".+?"
                if name in ("place", "side", "inverse"):
                    value = "|".join(sorted(values, key=len, reverse=True))
                pattern = pattern.replace(slot, f"(?P<{name}>{value})", 1)
                pattern = pattern.replace(slot, f"(?P={name})")
            found = re.fullmatch(pattern, text)
            if found and all(value in allowed[name] for name, value in found.groupdict().items()):
                return wording, found.groupdict()
        raise AssertionError(f"no wording of {question.type} for {question.question!r} in {split}")

    def answer(self, scene: Scene, question: Question, split: str) -> str:
        """The answer, read from the scene."""
        wording, slots = self.slots(question, split)
        shown = Counter(placed.word for placed in scene.objects)
        match question.type:
            case "exists":
                word = self.one[slots["one"]] if "one" in slots else self.many[slots["many"]]
                return yes_or_no(word in shown)
            case "count":
                return str(shown[self.many[slots["many"]]])
            case "total":
                return str(shown.total())
            case "colour":
                colour = scene.background.colour
                return colour if "shade" not in slots else yes_or_no(slots["shade"] == colour)
            case "position":
                return in_place(scene, PHRASES[slots["place"]]).word.word
            case "kind":
                return in_place(scene, PHRASES[slots["place"]]).word.kind
            case "what":
                (word,) = shown
                return word.word
            case "where":
                return part_of(scene, self.only(scene, slots["word"]))
            case "relation":
                anchor = self.only(scene, slots["word"])
                if "inverse" in slots:
                    side = OPPOSITE[RELATIONS[slots["inverse"]]]
                else:
                    side = RELATIONS[slots["side"]]
                return nearest(scene, anchor, side).word.word
            case "compare":
                more, fewer = self.many[slots["more"]], self.many[slots["fewer"]]
                return yes_or_no(shown[more] > shown[fewer])
            case _:
                return self.size(scene, wording.partition("#")[2], slots)

    def only(self, scene: Scene, name: str) -> Placed:
        (found,) = [placed for placed in scene.objects if placed.word == self.words[name]]
        return found

    def size(self, scene: Scene, variant: str, slots: dict[str, str]) -> str:
        if "large" in slots:
            large, small = self.only(scene, slots["large"]), self.only(scene, slots["small"])
            return yes_or_no(large.box.side > small.box.side)
        found = list(scene.objects)
        if "first" in slots:
            found = [self.only(scene, slots["first"]), self.only(scene, slots["second"])]
        ordered = sorted(found, key=lambda placed: placed.box.side)
        return ordered[-1 if variant.startswith("big") else 0].word.word


def yes_or_no(true: bool) -> str:
    return "yes" if true else "no"


def part_of(scene: Scene, placed: Placed) -> str:
    """The ninth of the image whose anchor is nearest, by direction from the middle."""
    x, y = (share - 0.5 for share in scene.place_of(placed))
    across = "" if abs(x) < 0.1 else "left" if x < 0 else "right"
    down = "" if abs(y) < 0.1 else "top" if y < 0 else "bottom"
    return f"{down} {across}".strip() or "center"


def in_place(scene: Scene, spot: str) -> Placed:
    """The one object whose part of the image is the place, or lies within it."""
    wanted = set(spot.split())
    parts = [(placed, set(part_of(scene, placed).split())) for placed in scene.objects]
    (found,) = [placed for placed, part in parts if wanted <= part]
    return found


def nearest(scene: Scene, anchor: Placed, side: str) -> Placed:
    """The nearest object on a side, in a quarter turn around its direction."""
    found = []
    for placed in scene.objects:
        x, y = placed.box.x - anchor.box.x, placed.box.y - anchor.box.y
        along = {"left": -x, "right": x, "above": -y, "below": y}.get(side, abs(x) + abs(y))
        across = {"left": y, "right": y, "above": x, "below": x}.get(side, 0.0)
        if placed is not anchor and along > abs(across):
            found.append((x * x + y * y, placed))
    return min(found, key=lambda each: each[0])[1]
