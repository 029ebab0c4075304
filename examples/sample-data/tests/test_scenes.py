import numpy as np
import pytest
from backgrounds import Background
from PIL import Image
from scene_samples import HANDS, UNSEEN, WORDS, placed, scene
from scenes import (
    MIXED,
    MIXED_PROB,
    NUM_OBJECTS,
    RIMS,
    contrast,
    cut_out,
    draw_scene,
    paint,
    sticker,
)

SCENES = [draw_scene(WORDS, [], HANDS, 0, "train", index) for index in range(1000)]


def test_scenes_are_functions_of_seed_split_and_index() -> None:
    assert draw_scene(WORDS, [], HANDS, 0, "train", 999) == SCENES[999]
    assert draw_scene(WORDS, [], HANDS, 0, "val_scene", 999) != SCENES[999]
    assert draw_scene(WORDS, [], HANDS, 1, "train", 999) != SCENES[999]


def test_scenes_are_varied() -> None:
    counts = [len(drawn.objects) for drawn in SCENES]
    for count, share in NUM_OBJECTS.items():
        assert abs(counts.count(count) / len(SCENES) - share) < 0.055  # four standard deviations
    rims = [drawn.rim for drawn in SCENES]
    assert all(abs(rims.count(rim) / len(SCENES) - share) < 0.065 for rim, share in RIMS.items())
    assert len({(drawn.width, drawn.height) for drawn in SCENES}) == 5
    mixed = [drawn.hand == MIXED for drawn in SCENES if len(drawn.objects) > 3]
    assert 0.5 * MIXED_PROB < sum(mixed) / len(mixed) < 1.5 * MIXED_PROB


def test_a_hand_draws_only_what_it_can() -> None:
    for drawn in SCENES:
        for each in drawn.objects:
            assert HANDS[each.hand].draws(each.hexcode)
            assert each.hexcode in each.word.hexcodes


def test_a_scene_of_unseen_objects_has_at_least_one() -> None:
    for index in range(200):
        drawn = draw_scene(WORDS, UNSEEN, HANDS, 0, "val_object", index)
        assert any(each.word.held_out for each in drawn.objects)
    assert not any(each.word.held_out for drawn in SCENES for each in drawn.objects)


def test_an_object_is_painted_in_its_box() -> None:
    painted = paint(scene(placed(WORDS[0], 0.3, 0.7, 0.4)), HANDS)
    pixels = np.asarray(painted).astype(int)
    rows, columns = np.nonzero(np.abs(pixels - (60, 120, 220)).sum(axis=2) > 30)
    assert (rows.min(), rows.max()) == (50, 89)
    assert (columns.min(), columns.max()) == (10, 49)


@pytest.mark.parametrize("rim", ["white", "black"])
def test_the_rim_surrounds_the_drawing(rim: str) -> None:
    framed = sticker(Image.new("RGBA", (10, 10), (9, 9, 9, 255)), rim, 2)
    assert framed.size == (14, 14)
    edge = 255 if rim == "white" else 0
    assert framed.getpixel((0, 5)) == (edge, edge, edge, 255)
    assert framed.getpixel((2, 5)) == (9, 9, 9, 255)


def test_a_drawing_that_could_not_be_seen_gets_a_rim() -> None:
    black = Background(colour="black", style="plain", shades=((0, 0, 0), (0, 0, 0)))
    pixels = np.asarray(paint(scene(placed(WORDS[0], 0.5, 0.5), background=black), HANDS))
    assert pixels.max() > 60
    disc = Image.new("RGBA", (4, 4), (0, 0, 0, 255))
    assert contrast(disc, Image.new("RGB", (4, 4), (30, 60, 90))) == 60.0
    assert contrast(Image.new("RGBA", (4, 4)), Image.new("RGB", (4, 4), "white")) == 0.0


def test_cut_out_scales_the_visible_part() -> None:
    picture = Image.new("RGBA", (100, 100))
    picture.paste((9, 9, 9, 255), (10, 20, 50, 40))
    assert cut_out(picture, 30).size == (30, 15)
    with pytest.raises(ValueError, match="empty"):
        cut_out(Image.new("RGBA", (10, 10)), 30)
