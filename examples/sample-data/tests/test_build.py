"""The rows of a split, from hands drawn in the test."""

from pathlib import Path

import pytest
from build import Source, caption_rows, check_vocabulary, is_drawn, plan_captions, question_rows
from concepts import Concept
from hands import HELD_OUT_HAND, TRAINING_HANDS, Hand, IconifyHand
from scenes import Word, read_vocabulary

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
VOCABULARY = [
    Word(hexcode=c.hexcode, word=c.label, plural=c.label + "s", kind="animal")
    for c in CONCEPTS[:10]
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
    rows = question_rows("test_scene", 8, VOCABULARY, HANDS, lambda: None)
    assert len(rows) == 8 * 5
    urls = [row["image_url"] for row in rows]
    assert urls == sorted(urls)
    assert {row["type"] for row in rows} >= {"exists", "count"}


def test_scenes_do_not_depend_on_how_many_there_are() -> None:
    few = question_rows("test_scene", 2, VOCABULARY, HANDS, lambda: None)
    many = question_rows("test_scene", 4, VOCABULARY, HANDS, lambda: None)
    assert many[: len(few)] == few


def test_a_word_that_a_hand_does_not_draw_is_named() -> None:
    seen = {c.hexcode for c in CONCEPTS}
    source = Source(concepts=CONCEPTS, hands=HANDS)
    check_vocabulary(VOCABULARY, source, seen)
    with pytest.raises(ValueError, match="'beast 3' is held out from training"):
        check_vocabulary(VOCABULARY, source, seen - {CONCEPTS[3].hexcode})
    gap = hand("noto", skip=frozenset({CONCEPTS[2].hexcode}))
    gapped = Source(concepts=CONCEPTS, hands={**HANDS, "noto": gap})
    with pytest.raises(ValueError, match=r"'beast 2' is not drawn by \['noto'\]"):
        check_vocabulary(VOCABULARY, gapped, seen)


def test_the_real_vocabulary_has_kinds_enough_to_ask_for() -> None:
    vocabulary = read_vocabulary(Path(__file__).parents[1] / "vocabulary.json")
    assert len({word.kind for word in vocabulary}) >= 10
