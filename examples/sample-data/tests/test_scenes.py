from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scenes import (
    CANVAS,
    CELL,
    COLOURS,
    RIM,
    Placed,
    Scene,
    Word,
    cut_out,
    draw_scene,
    paint,
    read_vocabulary,
    sticker,
)

VOCABULARY = [
    Word(hexcode=f"{i:X}", word=f"thing {i}", plural=f"things {i}", kind="thing") for i in range(12)
]
SCENES = [draw_scene(VOCABULARY, ("a", "b"), 0, "train", index) for index in range(2000)]


class DotHand:
    """Draws every concept as the same off-centre black disc."""

    name = "a"

    def draws(self, hexcode: str) -> bool:
        return True

    def render(self, hexcode: str, size: int) -> Image.Image:
        picture = Image.new("RGBA", (size, size))
        ImageDraw.Draw(picture).ellipse((0, 0, size // 2, size // 2), fill=(0, 0, 0, 255))
        return picture


def scene(*quarters: int, size: int = 40) -> Scene:
    return Scene(
        hand="a",
        colour="blue",
        rgb=COLOURS["blue"],
        objects=tuple(
            Placed(word=VOCABULARY[q], quarter=q, size=size, shift=(0.5, 0.5)) for q in quarters
        ),
    )


def test_scenes_are_functions_of_seed_split_and_index() -> None:
    assert draw_scene(VOCABULARY, ("a", "b"), 0, "train", 1999) == SCENES[1999]
    assert draw_scene(VOCABULARY, ("a", "b"), 0, "val_scene", 1999) != SCENES[1999]
    assert draw_scene(VOCABULARY, ("a", "b"), 1, "train", 1999) != SCENES[1999]


def test_scenes_are_well_formed() -> None:
    for drawn in SCENES:
        quarters = [placed.quarter for placed in drawn.objects]
        assert 1 <= len(quarters) == len(set(quarters)) <= 4
        # At most one thing is there several times.
        assert sum(count > 1 for count in drawn.counts.values()) <= 1
        assert max(abs(a - b) for a, b in zip(drawn.rgb, COLOURS[drawn.colour], strict=True)) <= 10


def test_everything_appears_about_evenly() -> None:
    colours = [drawn.colour for drawn in SCENES]
    for colour in COLOURS:
        # Four standard deviations of a binomial with n = 2000, p = 1/8.
        assert abs(colours.count(colour) - 250) < 60
    quarters = [placed.quarter for drawn in SCENES for placed in drawn.objects]
    for quarter in range(4):
        assert abs(quarters.count(quarter) / len(quarters) - 0.25) < 0.03


@pytest.mark.parametrize("quarter", range(4))
def test_an_object_is_painted_in_its_quarter(quarter: int) -> None:
    pixels = np.asarray(paint(scene(quarter), {"a": DotHand()})).astype(int)
    changed = np.abs(pixels - COLOURS["blue"]).sum(axis=2) > 30
    rows, columns = np.nonzero(changed)
    top, left = CELL * (quarter // 2), CELL * (quarter % 2)
    assert top <= rows.min() <= rows.max() < top + CELL
    assert left <= columns.min() <= columns.max() < left + CELL
    # The longer side is the object's size, the rim included.
    assert rows.max() - rows.min() + 1 == 40


def test_empty_quarters_are_background() -> None:
    pixels = np.asarray(paint(scene(0, 3), {"a": DotHand()}))
    assert pixels.shape == (CANVAS, CANVAS, 3)
    assert (pixels[:CELL, CELL:] == COLOURS["blue"]).all()
    assert (pixels[CELL:, :CELL] == COLOURS["blue"]).all()


def test_cut_out_scales_the_visible_part() -> None:
    picture = Image.new("RGBA", (100, 100))
    picture.paste((9, 9, 9, 255), (10, 20, 50, 40))
    assert cut_out(picture, 30).size == (30, 15)
    with pytest.raises(ValueError, match="empty"):
        cut_out(Image.new("RGBA", (10, 10)), 30)


def test_the_rim_is_white() -> None:
    framed = sticker(Image.new("RGBA", (10, 10), (0, 0, 0, 255)))
    assert framed.size == (10 + 2 * RIM, 10 + 2 * RIM)
    assert framed.getpixel((0, 5)) == (255, 255, 255, 255)
    assert framed.getpixel((RIM, RIM)) == (0, 0, 0, 255)


def test_the_vocabulary_is_unambiguous() -> None:
    vocabulary = read_vocabulary(Path(__file__).parents[1] / "vocabulary.json")
    assert len({word.hexcode for word in vocabulary}) == len(vocabulary)
    assert len({word.word for word in vocabulary}) == len(vocabulary)
    for word in vocabulary:
        assert word.plural != word.word
        assert len(word.word.split()) <= 3
        assert word.word == word.word.lower()
