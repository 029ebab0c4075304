"""Scenes: one to four objects in the four quarters of a coloured canvas."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from draws import generator
from hands import Hand
from PIL import Image, ImageFilter

CANVAS = 112  # pixels
CELL = CANVAS // 2
QUARTERS = ("top left", "top right", "bottom left", "bottom right")
NUM_OBJECTS = {1: 0.18, 2: 0.24, 3: 0.28, 4: 0.3}
REPEAT_PROB = 0.7  # of a scene with two or more objects showing one of them several times
OBJECT_SIZE = (40, 54)  # pixels, the longer side, rim included
RENDER_SIZE = 128  # pixels before cropping to the drawing
COLOURS = {
    "red": (222, 92, 88),
    "orange": (243, 163, 82),
    "yellow": (246, 226, 116),
    "green": (124, 190, 116),
    "blue": (108, 158, 224),
    "purple": (160, 122, 204),
    "pink": (247, 180, 206),
    "gray": (160, 164, 168),
}
COLOUR_JITTER = 10  # largest change of a channel
RIM = 2  # pixels of white around each object, or a yellow star would vanish on yellow


@dataclass(frozen=True, kw_only=True)
class Word:
    """A concept with the words that questions use for it."""

    hexcode: str
    word: str
    plural: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One object in a scene.

    Attributes:
        word: what it is.
        quarter: index into ``QUARTERS``.
        size: length of its longer side in pixels.
        shift: where in the free room of its quarter it stands, (x, y) in [0, 1].
    """

    word: Word
    quarter: int
    size: int
    shift: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture to be asked about.

    Attributes:
        hand: who drew all of its objects.
        colour: name of the background colour.
        rgb: the background, jittered about that colour.
        objects: at most one in each quarter.
    """

    hand: str
    colour: str
    rgb: tuple[int, int, int]
    objects: tuple[Placed, ...]

    @property
    def counts(self) -> Counter[Word]:
        """How often each thing is in the picture."""
        return Counter(placed.word for placed in self.objects)

    def at(self, quarter: int) -> Word | None:
        """What stands in a quarter, if anything."""
        return next((p.word for p in self.objects if p.quarter == quarter), None)


def read_vocabulary(path: Path) -> list[Word]:
    """Read the things that scenes show."""
    return [Word(**entry) for entry in json.loads(path.read_text())]


def draw_scene(
    vocabulary: list[Word], hands: tuple[str, ...], seed: int, split: str, index: int
) -> Scene:
    """Draw one scene; a function of (seed, split, index)."""
    rng = generator(seed, "scene", split, index)
    (count,) = rng.choices(list(NUM_OBJECTS), list(NUM_OBJECTS.values()))
    repeats = 1
    if count > 1 and rng.random() < REPEAT_PROB:
        repeats = rng.randint(2, count)
    words = rng.sample(vocabulary, count - repeats + 1)
    words += [words[0]] * (repeats - 1)
    rng.shuffle(words)
    colour = rng.choice(list(COLOURS))
    red, green, blue = (
        min(255, channel + rng.randint(-COLOUR_JITTER, COLOUR_JITTER))
        for channel in COLOURS[colour]
    )
    objects = tuple(
        Placed(
            word=word,
            quarter=quarter,
            size=rng.randint(*OBJECT_SIZE),
            shift=(rng.random(), rng.random()),
        )
        for word, quarter in zip(words, rng.sample(range(4), count), strict=True)
    )
    return Scene(hand=rng.choice(hands), colour=colour, rgb=(red, green, blue), objects=objects)


def cut_out(picture: Image.Image, size: int) -> Image.Image:
    """Crop an RGBA drawing to what is visible and scale its longer side to ``size`` pixels."""
    visible = picture.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox()
    if visible is None:
        raise ValueError("the drawing is empty: nothing to put in a scene")
    cropped = picture.crop(visible)
    scale = size / max(cropped.size)
    shape = (max(1, round(cropped.width * scale)), max(1, round(cropped.height * scale)))
    return cropped.convert("RGBa").resize(shape, Image.Resampling.LANCZOS).convert("RGBA")


def sticker(drawing: Image.Image) -> Image.Image:
    """Give an RGBA drawing a white rim of ``RIM`` pixels on all sides."""
    shape = (drawing.width + 2 * RIM, drawing.height + 2 * RIM)
    framed = Image.new("RGBA", shape)
    framed.paste(drawing, (RIM, RIM))
    alpha = framed.getchannel("A")
    rimmed = Image.new("RGBA", shape, "white")
    rimmed.putalpha(alpha.filter(ImageFilter.MaxFilter(2 * RIM + 1)))
    return Image.alpha_composite(rimmed, framed)


def paint(scene: Scene, hands: dict[str, Hand]) -> Image.Image:
    """Paint the scene as an RGB picture of ``CANVAS`` pixels."""
    canvas = Image.new("RGB", (CANVAS, CANVAS), scene.rgb)
    for placed in scene.objects:
        drawing = hands[scene.hand].render(placed.word.hexcode, RENDER_SIZE)
        drawing = sticker(cut_out(drawing, placed.size - 2 * RIM))
        left = CELL * (placed.quarter % 2) + round((CELL - drawing.width) * placed.shift[0])
        top = CELL * (placed.quarter // 2) + round((CELL - drawing.height) * placed.shift[1])
        canvas.paste(drawing, (left, top), drawing)
    return canvas
