"""English nouns as questions need them: plurals and indefinite articles."""

from __future__ import annotations

import re

WHOLE = {  # phrases whose plural is not formed at one word
    "bow and arrow": "bows and arrows",
    "nut and bolt": "nuts and bolts",
    "thumbs up": "thumbs up",
}
IRREGULAR = {
    "blowfish": "blowfish",
    "buffalo": "buffaloes",
    "cactus": "cacti",
    "deer": "deer",
    "die": "dice",
    "fish": "fish",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "potato": "potatoes",
    "pufferfish": "pufferfish",
    "sheep": "sheep",
    "shrimp": "shrimp",
    "snowman": "snowmen",
    "squid": "squid",
    "tomato": "tomatoes",
    "wolf": "wolves",
    "woman": "women",
}
# The word before one of these is the one that gets the plural: "ears of corn".
LINKS = re.compile(r" (?:of|with|in|on) ")
SOUNDS_LIKE_A_CONSONANT = ("uni", "ufo", "ukulele", "one")
SILENT_H = ("hour", "honest", "heir")


def plural(noun: str) -> str:
    """The noun in the plural; a noun phrase gets it at its head."""
    if noun in WHOLE:
        return WHOLE[noun]
    if link := LINKS.search(noun):
        return plural(noun[: link.start()]) + noun[link.start() :]
    first, _, last = noun.rpartition(" ")
    return f"{first} {_plural_word(last)}" if first else _plural_word(last)


def _plural_word(word: str) -> str:
    if word in IRREGULAR:
        return IRREGULAR[word]
    if re.search(r"(?:s|x|z|ch|sh)$", word):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"


def with_article(noun: str) -> str:
    """The noun with ``a`` or ``an``, by its sound."""
    vowel = noun[0] in "aeiou" and not noun.startswith(SOUNDS_LIKE_A_CONSONANT)
    return f"an {noun}" if vowel or noun.startswith(SILENT_H) else f"a {noun}"
