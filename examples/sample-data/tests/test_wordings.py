import re
from collections import Counter
from random import Random

from question_reading import undressed
from questions import WEIGHTS
from wordings import ACCEPTED_PLACES, PLACES, WORDINGS, draw_wording, dress, wordings


def words_of(wording: str) -> list[str]:
    """Its words without "please": a training wording may get one."""
    text = undressed(wording.partition("#")[0]).removeprefix("please ").replace("colour", "color")
    return re.findall(r"\{\w+\}|\w+", text)


def distance(first: list[str], second: list[str]) -> int:
    """How many words are added, left out or replaced (Levenshtein)."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def test_each_type_has_wordings_that_training_never_sees() -> None:
    assert set(WORDINGS) == set(WEIGHTS)
    for type_, groups in WORDINGS.items():
        assert list(groups) == ["train", "val", "test"]
        every = [text for group in groups.values() for text in group]
        assert len(set(every)) == len(every)
        assert len(groups["train"]) >= 8, type_
        for text in groups["val"] + groups["test"]:
            # one word more or less, or a different one, would not be a new wording
            near = min(distance(words_of(text), words_of(seen)) for seen in groups["train"])
            assert near >= 2, (type_, text)
        assert min(len(groups["val"]), len(groups["test"])) >= 4, type_


def test_a_split_has_its_wordings() -> None:
    rng = Random(0)
    for type_, groups in WORDINGS.items():
        for split, group in (
            ("train", "train"), ("val_scene", "train"), ("test_object", "train"),
            ("val_wording", "val"), ("test_wording", "test"),
        ):  # fmt: skip
            assert wordings(type_, split) == groups[group]
            drawn = {"#".join(filter(None, draw_wording(rng, type_, split))) for _ in range(600)}
            assert drawn == set(groups[group])


def test_variants_are_drawn_equally_often_however_many_wordings_they_have() -> None:
    rng = Random(0)
    drawn = [draw_wording(rng, "size", "train", ("bigger", "smaller")) for _ in range(4000)]
    # the split has more wordings for "bigger"; 0.03 is almost four standard deviations
    assert abs(sum(variant == "bigger" for _, variant in drawn) / len(drawn) - 0.5) < 0.03
    assert draw_wording(rng, "colour", "val_wording", ("is",))[1] == ""  # it has no such wording


def test_questions_are_dressed_in_several_ways() -> None:
    rng = Random(0)
    dressed = Counter(dress(rng, "what is the dog?") for _ in range(4000))
    assert max(dressed, key=dressed.__getitem__) == "what is the dog?"
    forms = set(dressed)
    assert {"What is the dog", "WHAT IS THE DOG?", "What Is The Dog?", "what's the dog"} < forms
    assert {"please, what is the dog?", "Hey, what is the dog?", "what is the dog, please"} < forms
    assert {undressed(form) for form in forms} == {"what is the dog"}
    assert not any("'s it" in dress(rng, "what is it?").lower() for _ in range(300))


def test_all_places_have_accepted_names() -> None:
    assert set(PLACES) == set(ACCEPTED_PLACES)
    phrases = [phrase for found in PLACES.values() for phrase in found]
    assert len(set(phrases)) == len(phrases)
