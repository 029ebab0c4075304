import pytest
from captions import canonical_caption, describe, spoken_list, useful_tags
from concepts import Concept

APPLE = Concept(
    hexcode="1F34E",
    label="red apple",
    tags=("apple", "diet", "fruit", "health", "ripe", "sweet", "tree"),
    group="food-drink",
    subgroup="food-fruit",
)
BARE = Concept(hexcode="25AA", label="black square", tags=(), group="symbols", subgroup="geometric")


def test_tags_repeat_neither_name_nor_class() -> None:
    assert useful_tags(APPLE) == ["diet", "health", "ripe", "sweet", "tree"]


def test_canonical_caption() -> None:
    assert canonical_caption(APPLE) == (
        "Red apple. It shows a fruit. Related words: diet, health, ripe and sweet."
    )
    assert canonical_caption(BARE) == "Black square. It shows a geometric shape."


@pytest.mark.parametrize("hand", ["noto", "twemoji", "emojione"])
def test_every_caption_names_the_concept(hand: str) -> None:
    for concept in (APPLE, BARE):
        text = describe(concept, hand, seed=0)
        assert text.canonical == canonical_caption(concept)
        assert len(text.transcripts) == 2
        for caption in (text.caption, *text.transcripts):
            assert concept.label in caption.lower()
            assert caption[0].isupper()
            assert caption.endswith(".")
            assert "{" not in caption
            assert "  " not in caption


def test_captions_are_functions_of_seed_concept_and_hand() -> None:
    assert describe(APPLE, "noto", 0) == describe(APPLE, "noto", 0)
    variants = {describe(APPLE, f"hand {i}", 0).caption for i in range(50)}
    assert len(variants) > 25


@pytest.mark.parametrize(
    ("words", "said"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")],
)
def test_spoken_list(words: list[str], said: str) -> None:
    assert spoken_list(words) == said
