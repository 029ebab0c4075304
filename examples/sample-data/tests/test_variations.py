from random import Random

import numpy as np
from PIL import Image
from scene_samples import HANDS, WORDS
from scenes import draw_scene
from variations import BRIGHTNESS, MAX_HUE, SATURATION, Variation, draw_variation

ORANGE = (200, 120, 40, 255)


def drawing() -> Image.Image:
    picture = Image.new("RGBA", (6, 4))
    picture.paste(ORANGE, (0, 1, 2, 3))
    return picture


def test_the_default_changes_nothing() -> None:
    assert Variation().apply(drawing()).tobytes() == drawing().tobytes()


def test_mirroring_moves_the_outline_with_the_colours() -> None:
    mirrored = np.asarray(Variation(mirrored=True).apply(drawing()))
    np.testing.assert_array_equal(mirrored[:, :, 3], np.asarray(drawing())[:, ::-1, 3])
    # one step per channel: HSV has whole numbers
    assert np.abs(mirrored[1, 5].astype(int) - ORANGE).max() <= 1


def test_hue_saturation_and_brightness_change_colours_only() -> None:
    # 85 of 256 steps are a third of the circle: red becomes green
    red = Image.new("RGBA", (1, 1), (200, 0, 0, 128))
    green = Variation(hue=85).apply(red).getpixel((0, 0))
    assert isinstance(green, tuple)
    assert green[1] > 190
    assert max(green[0], green[2]) < 10
    assert green[3] == 128
    grey = Variation(saturation=0.0).apply(drawing()).getpixel((0, 1))
    assert isinstance(grey, tuple)
    assert grey[0] == grey[1] == grey[2]
    dark = Variation(brightness=0.5).apply(drawing()).getpixel((0, 1))
    assert isinstance(dark, tuple)
    assert np.abs(np.array(dark[:3]) - np.array(ORANGE[:3]) / 2).max() <= 1


def test_only_training_scenes_vary_and_by_their_index() -> None:
    trained = [draw_scene(WORDS, [], HANDS, 0, "train", index) for index in range(200)]
    drawn = [placed.variation for scene in trained for placed in scene.objects]
    assert 0.4 < sum(each.mirrored for each in drawn) / len(drawn) < 0.6
    assert {each.hue for each in drawn} == set(range(-MAX_HUE, MAX_HUE + 1))
    for low, high, values in (
        (*SATURATION, [each.saturation for each in drawn]),
        (*BRIGHTNESS, [each.brightness for each in drawn]),
    ):
        assert low <= min(values) < low + 0.05
        assert high - 0.05 < max(values) <= high
    other = draw_scene(WORDS, [], HANDS, 0, "val_scene", 0)
    assert all(placed.variation == Variation() for placed in other.objects)
    assert draw_variation(Random(1)) == draw_variation(Random(1))
