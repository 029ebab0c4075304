"""The rows of a split, from hands drawn in the test."""

import pytest
from build import (
    NUM_SCENES,
    Source,
    caption_rows,
    check_vocabulary,
    is_drawn,
    plan_captions,
    question_rows,
)
from concepts import Concept
from hands import HELD_OUT_HAND, TRAINING_HANDS, Hand, IconifyHand
from question_reading import Reader
from questions import Question
from words import Word

CONCEPTS = [
    Concept(
        hexcode=f"{0x1F400 + index:X}",
        label=f"beast {index}",
        tags=("wild",),
        group="animals-nature",
        subgroup="animal-mammal",
    )
    for index in range(40)
]


def hand(name: str, skip: frozenset[str] = frozenset()) -> Hand:
    """Draws every concept as a circle of a colour of its own."""
    icons = {
        concept.hexcode: {
            "body": f'<circle cx="8" cy="8" r="7" fill="hsl({9 * index},80%,50%)"/>',
        }
        for index, concept in enumerate(CONCEPTS)
        if concept.hexcode not in skip
    }
    chars = {hexcode.lower(): hexcode for hexcode in icons}
    return IconifyHand(name, {"icons": icons}, chars, CONCEPTS)


HANDS = {name: hand(name) for name in (*TRAINING_HANDS, HELD_OUT_HAND)}
HELD_OUT = {"val": CONCEPTS[30:], "test": CONCEPTS[20:30]}
VOCABULARY = [
    Word(
        word=c.label,
        kind="animal",
        hexcodes=(c.hexcode,),
        held_out=next((part for part, found in HELD_OUT.items() if c in found), ""),
    )
    for c in CONCEPTS
]


def test_splits_share_nothing_that_they_should_not() -> None:
    plan = plan_captions(CONCEPTS)
    hexcodes = {split: {c.hexcode for c in concepts} for split, (concepts, _) in plan.items()}
    held_out = hexcodes["val_concept"] | hexcodes["test_concept"]
    assert len(held_out) == round(0.26 * len(CONCEPTS))
    assert not hexcodes["train"] & held_out
    assert not hexcodes["val_concept"] & hexcodes["test_concept"]
    assert hexcodes["val_vendor"] | hexcodes["test_vendor"] == hexcodes["train"]
    assert not hexcodes["val_vendor"] & hexcodes["test_vendor"]
    for split, (_, names) in plan.items():
        assert names == ((HELD_OUT_HAND,) if "vendor" in split else TRAINING_HANDS)


def test_a_concept_needs_the_unseen_hand_and_four_others() -> None:
    first, second = CONCEPTS[0], CONCEPTS[1]
    missing = hand("noto", skip=frozenset({first.hexcode, second.hexcode}))
    missing_too = hand("twemoji", skip=frozenset({second.hexcode}))
    hands = {**HANDS, "noto": missing, "twemoji": missing_too}
    assert is_drawn(first, hands)
    assert not is_drawn(second, hands)
    unseen = hand(HELD_OUT_HAND, skip=frozenset({first.hexcode}))
    assert not is_drawn(first, {**HANDS, HELD_OUT_HAND: unseen})


def test_caption_rows() -> None:
    ticks: list[int] = []
    rows = caption_rows("test_concept", CONCEPTS[:3], HANDS, lambda: ticks.append(1))
    assert len(rows) == len(ticks) == 3 * len(HANDS)
    assert len({row["image_url"] for row in rows}) == len(rows)
    assert rows[0]["image_url"] == "https://example.org/emoji/noto/1f400.webp"
    assert {row["concept"] for row in rows} == {c.hexcode for c in CONCEPTS[:3]}
    assert len({row["canonical_caption"] for row in rows}) == 3


def test_question_rows_keep_a_scene_together() -> None:
    rows = question_rows("test_scene", 4, VOCABULARY, HANDS, lambda: None)
    urls = [row["image_url"] for row in rows]
    assert urls == sorted(urls)
    assert len(set(urls)) == 4
    for row in rows:
        assert row["messages"] == [row["question"], row["answer"]]
        assert row["answers"][0] == row["answer"]
        assert row["image"] == next(r["image"] for r in rows if r["image_url"] == row["image_url"])


def words_of(split: str) -> set[Word]:
    """What the questions of a split name, and what they answer."""
    reader = Reader(VOCABULARY)
    found = set()
    for row in question_rows(split, 10, VOCABULARY, HANDS, lambda: None):
        question = Question(type=row["type"], question=row["question"], answers=("",))
        _, slots = reader.slots(question, split)
        tables = (reader.one, reader.many, reader.words)
        texts = (*slots.values(), row["answer"])
        found |= {table[text] for table in tables for text in texts if text in table}
    return found


def test_no_held_out_thing_leaks_into_a_different_split() -> None:
    assert {word.held_out for word in words_of("train")} == {""}
    for part in ("val", "test"):
        assert {word.held_out for word in words_of(f"{part}_wording")} == {""}
        assert {word.held_out for word in words_of(f"{part}_object")} == {"", part}


def test_the_vocabulary_is_checked() -> None:
    source = Source(concepts=CONCEPTS, hands=HANDS)
    held_out = {part: {c.hexcode for c in found} for part, found in HELD_OUT.items()}
    check_vocabulary(VOCABULARY, source, held_out)
    with pytest.raises(ValueError, match=r"beast 30.*held out"):
        check_vocabulary(VOCABULARY, source, {**held_out, "val": set()})
    stranger = Word(word="ufo", kind="vehicle", hexcodes=("1F6F8",))
    with pytest.raises(ValueError, match="1F6F8"):
        check_vocabulary([stranger], source, held_out)


def test_the_splits_of_questions() -> None:
    kinds = ("scene", "vendor", "wording", "object")
    assert set(NUM_SCENES) == {"train", *(f"{p}_{k}" for p in ("val", "test") for k in kinds)}
