"""Captions: sentences from Unicode's name, keywords and class of a concept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from concepts import Concept
from draws import choose, digest

KINDS: dict[str, str] = json.loads((Path(__file__).parent / "kinds.json").read_text())
MAX_TAGS = 3
CANONICAL_TAGS = 4
NUM_TRANSCRIPTS = 2

# Many labels are no plain nouns ("waving hand", "TOP arrow"): none of these needs an article.
OPENINGS = (
    "{label}.",
    "A drawing of {label}.",
    "This picture shows {label}.",
    "An emoji that is called {label}.",
    "{label}, drawn as a small icon.",
    "In the middle of the picture: {label}.",
    "A little cartoon with the title {label}.",
    "One icon on a white background, {label}.",
)
KIND_CLOSINGS = ("It shows {kind}.", "The icon stands for {kind}.", "One would call it {kind}.")
TAG_CLOSINGS = (
    "Related words: {tags}.",
    "People use it for {tags}.",
    "It makes one think of {tags}.",
    "Keywords are {tags}.",
)
CANONICAL = ("{label}.", "It shows {kind}.", "Related words: {tags}.")


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """What one picture is described by.

    Attributes:
        caption: the caption to train on.
        transcripts: other ways to say the same, as PixMo's spoken transcripts.
        canonical: the concept's one retrieval text, the same for every hand.
    """

    caption: str
    transcripts: tuple[str, ...]
    canonical: str


def spoken_list(words: list[str]) -> str:
    """Join words as in a sentence: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + " and " + words[-1]


def useful_tags(concept: Concept) -> list[str]:
    """Keywords that say something the name and the class do not."""
    said = f"{concept.label} {KINDS[concept.subgroup]}".lower()
    return [tag for tag in concept.tags if tag.lower() not in said]


def compose(templates: list[str], concept: Concept, tags: list[str]) -> str:
    """Fill the templates and join them; those about keywords fall away where there are none."""
    sentences = []
    for template in templates:
        if "{tags}" in template and not tags:
            continue
        sentence = template.format(
            label=concept.label, kind=KINDS[concept.subgroup], tags=spoken_list(tags)
        )
        sentences.append(sentence[:1].upper() + sentence[1:])
    return " ".join(sentences)


def canonical_caption(concept: Concept) -> str:
    """The one text by which the concept is retrieved."""
    return compose(list(CANONICAL), concept, useful_tags(concept)[:CANONICAL_TAGS])


def variant(concept: Concept, *key: str | int) -> str:
    """One way to describe the concept, drawn by the key."""
    opening = choose(OPENINGS, *key, "opening")
    closings = [choose(KIND_CLOSINGS, *key, "kind"), choose(TAG_CLOSINGS, *key, "tags")]
    # The kind only, the keywords only, or both, in either order.
    shown = choose(([0], [1], [0, 1], [1, 0]), *key, "closings")
    tags = sorted(useful_tags(concept), key=lambda tag: digest(*key, tag))
    return compose([opening, *(closings[index] for index in shown)], concept, tags[:MAX_TAGS])


def describe(concept: Concept, hand: str, seed: int) -> Captioned:
    """Caption one picture; a function of (seed, concept, hand).

    Args:
        concept: what is drawn.
        hand: who drew it: another hand's picture gets other words.
        seed: moves the draw.
    """
    key = (seed, "caption", concept.hexcode, hand)
    return Captioned(
        caption=variant(concept, *key),
        transcripts=tuple(variant(concept, *key, index) for index in range(NUM_TRANSCRIPTS)),
        canonical=canonical_caption(concept),
    )
