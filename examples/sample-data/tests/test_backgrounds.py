import colorsys
from random import Random

import numpy as np
import pytest
from backgrounds import COLOURS, STYLES, TEXTURES, Background, draw_background, paint_background

DRAWN = [draw_background(Random(seed)) for seed in range(1500)]
FIRST, SECOND = (10, 20, 200), (40, 80, 255)


def test_every_shade_has_its_colour() -> None:
    for drawn in DRAWN:
        if not drawn.colour:
            continue
        colour = COLOURS[drawn.colour]
        for shade in drawn.shades:
            hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in shade))
            # Rounding to 8 bits moves saturation and value by up to 1/255 at full value, and the
            # saturation of dark colours by more.
            assert colour.value[0] - 0.01 <= value <= colour.value[1] + 0.01
            if colour.saturation[0] > 0.1:
                assert colour.saturation[0] - 0.02 <= saturation <= colour.saturation[1] + 0.02
                turned = 360 * hue - (360 if 360 * hue > colour.hue[1] + 2 else 0)
                assert colour.hue[0] - 2 <= turned <= colour.hue[1] + 2


def test_colours_and_styles_are_all_there() -> None:
    colours = [drawn.colour for drawn in DRAWN]
    total = sum(colour.weight for colour in COLOURS.values())
    for name, colour in COLOURS.items():
        share = 0.95 * colour.weight / total
        assert abs(colours.count(name) / len(DRAWN) - share) < 0.03  # four standard deviations
    # A background of two colours has no name, so that nobody asks for it.
    assert abs(colours.count("") / len(DRAWN) - STYLES["two colours"]) < 0.025
    assert {drawn.style for drawn in DRAWN} == {"plain", "linear", "radial", *TEXTURES}


@pytest.mark.parametrize("style", ["plain", "linear", "radial", *TEXTURES])
def test_a_background_stays_between_its_shades(style: str) -> None:
    background = Background(colour="blue", style=style, shades=(FIRST, SECOND), angle=0.2, seed=1)
    pixels = np.asarray(paint_background(background, 60, 40))
    assert pixels.shape == (40, 60, 3)
    assert (pixels >= FIRST).all()
    assert (pixels <= SECOND).all()
    assert (len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1) == (style != "plain")
