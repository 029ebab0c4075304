"""Backgrounds: a named colour in many shades, plain, as a gradient or as a texture."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Range = tuple[float, float]
Rgb = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Colour:
    """A colour with the shades that people call by its name.

    Attributes:
        hue: range in degrees; may be negative.
        saturation: range from 0 to 1.
        value: range from 0 to 1.
        weight: how often it is drawn.
        accepted: different names that answers may use.
    """

    hue: Range
    saturation: Range
    value: Range
    weight: float = 1.0
    accepted: tuple[str, ...] = ()


COLOURS = {
    "red": Colour(hue=(-8, 8), saturation=(0.58, 0.95), value=(0.65, 1)),
    "orange": Colour(hue=(22, 35), saturation=(0.6, 1), value=(0.88, 1)),
    "yellow": Colour(hue=(47, 60), saturation=(0.4, 1), value=(0.88, 1)),
    "green": Colour(hue=(85, 150), saturation=(0.32, 0.9), value=(0.38, 0.95)),
    "blue": Colour(hue=(202, 236), saturation=(0.32, 0.9), value=(0.5, 1)),
    "purple": Colour(
        hue=(262, 290), saturation=(0.32, 0.8), value=(0.45, 0.95), accepted=("violet",)
    ),
    "pink": Colour(hue=(325, 347), saturation=(0.2, 0.55), value=(0.92, 1)),
    "gray": Colour(hue=(0, 360), saturation=(0, 0.06), value=(0.35, 0.75), accepted=("grey",)),
    "white": Colour(hue=(0, 360), saturation=(0, 0.025), value=(0.96, 1), weight=1.5),
    "black": Colour(hue=(0, 360), saturation=(0, 0.2), value=(0, 0.13), weight=0.7),
    "brown": Colour(hue=(18, 30), saturation=(0.5, 0.75), value=(0.3, 0.58), weight=0.7),
    "turquoise": Colour(
        hue=(172, 186),
        saturation=(0.4, 0.9),
        value=(0.6, 0.92),
        weight=0.5,
        accepted=("cyan", "teal"),
    ),
}
STYLES = {"plain": 0.52, "linear": 0.16, "radial": 0.07, "texture": 0.2, "two colours": 0.05}
TEXTURES = ("stripes", "dots", "checks", "noise")


@dataclass(frozen=True, kw_only=True)
class Background:
    """What is behind the objects.

    Attributes:
        colour: its name; empty if it has two colours, and then nobody asks for it.
        style: one of ``STYLES``, or of ``TEXTURES``.
        shades: two colours from 0 to 255; the first alone if plain.
        angle: of gradients and stripes, in turns.
        period: of textures, as a share of the canvas's shorter side.
        seed: of noise.
    """

    colour: str
    style: str
    shades: tuple[Rgb, Rgb]
    angle: float = 0.0
    period: float = 0.1
    seed: int = 0


def shade(rng: Random, colour: Colour, near: tuple[float, float, float] | None = None) -> Rgb:
    """A shade of the colour; ``near`` a different one, in thirds of their ranges, if given."""
    parts = []
    for place, (low, high) in enumerate((colour.hue, colour.saturation, colour.value)):
        part = rng.uniform(low, high)
        if near is not None:
            part = near[place] + (part - near[place]) / (3 if place == 0 else 1)
        parts.append(part)
    red, green, blue = colorsys.hsv_to_rgb(parts[0] % 360 / 360, parts[1], parts[2])
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_background(rng: Random) -> Background:
    """Draw a background."""
    names = list(COLOURS)
    weights = [COLOURS[name].weight for name in names]
    (name,) = rng.choices(names, weights)
    (style,) = rng.choices(list(STYLES), list(STYLES.values()))
    colour = COLOURS[name]
    first = shade(rng, colour)
    if style == "two colours":
        different = rng.choice([other for other in names if other != name])
        name, second, style = "", shade(rng, COLOURS[different]), "linear"
    else:
        hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in first))
        if hue > 0.9 and colour.hue[0] < 0:
            hue -= 1
        second = shade(rng, colour, (360 * hue, saturation, value))
    if style == "texture":
        style = rng.choice(TEXTURES)
    return Background(
        colour=name,
        style=style,
        shades=(first, second),
        angle=rng.random(),
        period=rng.uniform(0.06, 0.25),
        seed=rng.randrange(2**32),
    )


def paint_background(background: Background, width: int, height: int) -> Image.Image:
    """Paint the background as an RGB image."""
    first, second = (np.array(part, dtype=np.float64) for part in background.shades)
    share = _share(background, width, height)[:, :, None]
    pixels = np.round(first + share * (second - first))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")


def _share(background: Background, width: int, height: int) -> NDArray[np.float64]:
    """How much of the second shade each pixel has, (height, width) from 0 to 1."""
    y, x = np.mgrid[0:height, 0:width] / float(min(width, height))
    # Quarter turns of integers are exact; a sine may differ in the last bit between machines, and
    # rounding to 1/4096 removes that.
    turn = 2 * np.pi * background.angle
    along = np.round((x * np.cos(turn) + y * np.sin(turn)) * 4096) / 4096
    step = background.period
    if background.style == "linear":
        return (along - along.min()) / (along.max() - along.min())
    if background.style == "radial":
        away = (x - x.max() / 2) ** 2 + (y - y.max() / 2) ** 2
        return away / away.max()
    if background.style == "stripes":
        return (np.floor(along / step) % 2).astype(np.float64)
    if background.style == "checks":
        return ((np.floor(x / step) + np.floor(y / step)) % 2).astype(np.float64)
    if background.style == "dots":
        centred = ((x % step) - step / 2) ** 2 + ((y % step) - step / 2) ** 2
        return (centred < (0.3 * step) ** 2).astype(np.float64)
    if background.style == "noise":
        coarse = np.random.default_rng(background.seed).random((height // 4 + 1, width // 4 + 1))
        return np.kron(coarse, np.ones((4, 4)))[:height, :width]
    return np.zeros((height, width))
