from pathlib import Path

import pytest
from nouns import plural, with_article
from words import read_vocabulary

VOCABULARY = read_vocabulary(Path(__file__).parents[1] / "vocabulary.json")


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"),
        ("ear of corn", "ears of corn"),
        ("loaf of bread", "loaves of bread"),
        ("glass of milk", "glasses of milk"),
        ("pair of scissors", "pairs of scissors"),
        ("box of french fries", "boxes of french fries"),
        ("chest of drawers", "chests of drawers"),
        ("man with a hat", "men with a hat"),
        ("old woman", "old women"),
        ("snowman", "snowmen"),
        ("water buffalo", "water buffaloes"),
        ("palm tree", "palm trees"),
        ("bow and arrow", "bows and arrows"),
        ("nut and bolt", "nuts and bolts"),
        ("thumbs up", "thumbs up"),
        ("church", "churches"),
        ("paintbrush", "paintbrushes"),
        ("bus", "buses"),
        ("fox", "foxes"),
        ("candy", "candies"),
        ("turkey", "turkeys"),
        ("strawberry", "strawberries"),
        ("tomato", "tomatoes"),
        ("avocado", "avocados"),
        ("mouse", "mice"),
        ("sheep", "sheep"),
        ("ox", "oxen"),
        ("kitchen knife", "kitchen knives"),
        ("maple leaf", "maple leaves"),
        ("die", "dice"),
    ],
)
def test_plural(one: str, many: str) -> None:
    assert plural(one) == many


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("apple", "an apple"),
        ("dog", "a dog"),
        ("unicorn", "a unicorn"),
        ("umbrella", "an umbrella"),
        ("hourglass", "an hourglass"),
        ("house", "a house"),
        ("ear of corn", "an ear of corn"),
    ],
)
def test_article(noun: str, expected: str) -> None:
    assert with_article(noun) == expected


def test_the_plurals_of_the_vocabulary_are_different_words() -> None:
    same = {"deer", "fish", "sheep", "shrimp", "squid", "thumbs up", "blowfish", "pufferfish"}
    for word in VOCABULARY:
        for name in (word.word, *word.also):
            assert (plural(name) == name) == (name in same), name
