from pathlib import Path
from random import Random

from scene_samples import WORDS
from words import COMMON_WEIGHT, KINDS, draw_words, read_vocabulary

VOCABULARY = read_vocabulary(Path(__file__).parents[1] / "vocabulary.json")


def test_the_vocabulary_is_unambiguous() -> None:
    hexcodes = [hexcode for word in VOCABULARY for hexcode in word.hexcodes]
    assert len(set(hexcodes)) == len(hexcodes)
    names = [name for word in VOCABULARY for name in word.names]
    assert len(set(names)) == len(names), sorted({n for n in names if names.count(n) > 1})
    assert all(name == name.lower() for name in names)
    assert all(len(word.word.split()) <= 4 for word in VOCABULARY)
    assert set(KINDS) <= {word.kind for word in VOCABULARY}


def test_hundreds_of_words_some_of_them_held_out() -> None:
    held_out = [word.held_out for word in VOCABULARY if word.held_out]
    assert set(held_out) == {"val", "test"}
    assert min(held_out.count("val"), held_out.count("test")) >= 20
    assert len(VOCABULARY) - len(held_out) >= 200


def test_no_unseen_name_is_a_name_of_training() -> None:
    seen = {name for word in VOCABULARY if not word.held_out for name in word.names}
    assert not seen & {name for word in VOCABULARY if word.held_out for name in word.names}


def test_everyday_words_are_drawn_more_often() -> None:
    rng = Random(0)
    drawn = [draw_words(rng, WORDS, 1)[0] for _ in range(4000)]
    common = sum(word.common for word in drawn) / len(drawn)
    # Half of the words are everyday words; four standard deviations.
    assert abs(common - COMMON_WEIGHT / (1 + COMMON_WEIGHT)) < 0.03
    assert len(set(draw_words(rng, WORDS, 5))) == 5
