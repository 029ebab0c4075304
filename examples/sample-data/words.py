"""Words: what scenes show, and what it is called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

COMMON_WEIGHT = 5.0  # of an everyday word, against 1 of the others
KINDS = {  # different names of a kind, which answers may use
    "clothing": ("clothes", "accessory"),
    "device": ("electronics", "gadget", "machine"),
    "drink": ("beverage",),
    "fruit": ("food",),
    "household item": ("household object",),
    "instrument": ("musical instrument",),
    "jewelry": ("jewellery",),
    "nature": ("landscape",),
    "office item": ("stationery",),
    "person": ("human",),
    "sign": ("symbol",),
    "sky object": ("celestial body",),
    "sports item": ("sports equipment",),
    "vegetable": ("food",),
}


@dataclass(frozen=True, kw_only=True)
class Word:
    """A thing with the words that questions and answers use for it.

    Attributes:
        word: its name, in the singular.
        kind: its class, an answer of one or two words.
        hexcodes: the concepts that are drawn for it.
        also: different names that questions use and answers may use.
        accepted: names that only answers may use: most of them can't be counted ("bread").
        common: whether it is an everyday word, which is drawn more often.
        held_out: "val" or "test" for things that only the splits of unseen objects show.
    """

    word: str
    kind: str
    hexcodes: tuple[str, ...]
    also: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    common: bool = False
    held_out: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All right answers, the usual one first."""
        return (self.word, *self.also, *self.accepted)

    @property
    def kinds(self) -> tuple[str, ...]:
        """All right names of its kind, the usual one first."""
        return (self.kind, *KINDS.get(self.kind, ()))


def read_vocabulary(path: Path) -> list[Word]:
    """Read the things that scenes show."""
    return [
        Word(**{key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()})
        for entry in json.loads(path.read_text())
    ]


def draw_words(rng: Random, words: Sequence[Word], count: int) -> list[Word]:
    """``count`` different words, everyday words more often."""
    # Weighted sampling without replacement: the smallest of exponential waiting times come first.
    waits = [rng.expovariate(COMMON_WEIGHT if word.common else 1.0) for word in words]
    return [words[place] for place in sorted(range(len(words)), key=waits.__getitem__)[:count]]
