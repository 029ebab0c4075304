"""Scenes: one to six objects at free places on a background."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

import numpy as np
from backgrounds import Background, draw_background, paint_background
from draws import generator
from hands import Hand
from PIL import Image, ImageFilter
from placing import Box, place
from variations import UNCHANGED, Variation, draw_variation
from words import Word, draw_words

# Width and height in pixels, with their weights.
CANVASES = {(112, 112): 0.5, (128, 128): 0.2, (160, 160): 0.1, (144, 108): 0.1, (108, 144): 0.1}
NUM_OBJECTS = {1: 0.22, 2: 0.26, 3: 0.22, 4: 0.16, 5: 0.08, 6: 0.06}
REPEAT_PROB = 0.6  # of a scene with two or more objects showing one of them several times
SECOND_REPEAT_PROB = 0.4  # of what is left of it showing one thing as well
MIXED_PROB = 0.2  # of a scene having objects by several hands
RIMS = {"none": 0.45, "white": 0.45, "black": 0.1}
RIM_PIXELS = {"none": 0, "white": 2, "black": 1}
TURN_PROB = 0.2  # of a scene with objects that are turned a little
MAX_TURN = 15.0  # degrees
RENDER_SIZE = 160  # pixels before cropping to the drawing
MIN_CONTRAST = (
    18.0  # mean difference from what is behind, per channel: a ghost on white needs a rim
)
MIXED = "mixed"


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One object in a scene.

    Attributes:
        word: what it is.
        hexcode: the concept that is drawn.
        hand: who drew it.
        box: where it is; its longer side is the box's side.
        turn: in degrees.
        variation: how the drawing is changed before it is turned.
    """

    word: Word
    hexcode: str
    hand: str
    box: Box
    turn: float = 0.0
    variation: Variation = UNCHANGED


@dataclass(frozen=True, kw_only=True)
class Scene:
    """An image to be asked about.

    Attributes:
        width: in pixels.
        height: in pixels.
        background: what is behind the objects.
        rim: the outline of the objects, one of ``RIMS``.
        objects: in the order in which they are painted.
    """

    width: int
    height: int
    background: Background
    rim: str
    objects: tuple[Placed, ...]

    @property
    def hand(self) -> str:
        """Who drew the objects."""
        hands = {placed.hand for placed in self.objects}
        return hands.pop() if len(hands) == 1 else MIXED

    @property
    def counts(self) -> Counter[Word]:
        """How often each thing is in the image."""
        return Counter(placed.word for placed in self.objects)

    def place_of(self, placed: Placed) -> tuple[float, float]:
        """The object's centre, as shares of the width and of the height."""
        shorter = min(self.width, self.height)
        return placed.box.x * shorter / self.width, placed.box.y * shorter / self.height


def choose_words(rng: Random, words: list[Word], unseen: list[Word], count: int) -> list[Word]:
    """What the scene shows, one word per object.

    Args:
        rng: draws.
        words: the things of training.
        unseen: things of which at least one is shown; may be empty.
        count: how many objects.
    """
    repeats = rng.randint(2, count) if count > 1 and rng.random() < REPEAT_PROB else 1
    left = count - repeats
    second = left if left > 1 and rng.random() < SECOND_REPEAT_PROB else min(left, 1)
    sizes = [size for size in (repeats, second) if size] + [1] * (left - second)
    chosen = draw_words(rng, words, len(sizes))
    if unseen:
        number = rng.randint(1, min(len(sizes), len(unseen)))
        chosen[:number] = draw_words(rng, unseen, number)
        rng.shuffle(chosen)
    shown = [word for word, size in zip(chosen, sizes, strict=True) for _ in range(size)]
    rng.shuffle(shown)
    return shown


def drawn_by(hand: Hand, words: list[Word]) -> list[Word]:
    """The words of which the hand has a drawing."""
    return [word for word in words if any(hand.draws(hexcode) for hexcode in word.hexcodes)]


def draw_scene(
    words: list[Word], unseen: list[Word], hands: dict[str, Hand], seed: int, split: str, index: int
) -> Scene:
    """Draw one scene; a function of (seed, split, index). Training varies the drawings."""
    rng = generator(seed, "scene", split, index)
    (count,) = rng.choices(list(NUM_OBJECTS), list(NUM_OBJECTS.values()))
    one = rng.choice(sorted(hands))
    mixed = rng.random() < MIXED_PROB
    words, unseen = (drawn_by(hands[one], found) for found in (words, unseen))
    shown = choose_words(rng, words, unseen, count)
    ((width, height),) = rng.choices(list(CANVASES), list(CANVASES.values()))
    shorter = min(width, height)
    boxes = place(rng, count, width / shorter, height / shorter)
    turned = rng.random() < TURN_PROB
    varying = generator(seed, "variation", split, index) if split == "train" else None
    objects = []
    for word, box in zip(shown, boxes, strict=True):
        hexcode = rng.choice([each for each in word.hexcodes if hands[one].draws(each)])
        drawing = [name for name in sorted(hands) if hands[name].draws(hexcode)]
        hand = rng.choice(drawing) if mixed else one
        turn = rng.uniform(-MAX_TURN, MAX_TURN) if turned else 0.0
        objects.append(
            Placed(
                word=word,
                hexcode=hexcode,
                hand=hand,
                box=box,
                turn=round(turn, 1),
                variation=draw_variation(varying) if varying else UNCHANGED,
            )
        )
    (rim,) = rng.choices(list(RIMS), list(RIMS.values()))
    return Scene(
        width=width,
        height=height,
        background=draw_background(rng),
        rim=rim,
        objects=tuple(objects),
    )


def cut_out(picture: Image.Image, size: int) -> Image.Image:
    """Crop an RGBA drawing to what is visible and scale its longer side to ``size`` pixels."""
    visible = picture.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox()
    if visible is None:
        raise ValueError("the drawing is empty: nothing to put in a scene")
    cropped = picture.crop(visible)
    scale = size / max(cropped.size)
    shape = (max(1, round(cropped.width * scale)), max(1, round(cropped.height * scale)))
    return cropped.convert("RGBa").resize(shape, Image.Resampling.LANCZOS).convert("RGBA")


def sticker(drawing: Image.Image, colour: str, rim: int) -> Image.Image:
    """Give an RGBA drawing a rim of ``rim`` pixels on all sides."""
    shape = (drawing.width + 2 * rim, drawing.height + 2 * rim)
    framed = Image.new("RGBA", shape)
    framed.paste(drawing, (rim, rim))
    alpha = framed.getchannel("A")
    rimmed = Image.new("RGBA", shape, colour)
    rimmed.putalpha(alpha.filter(ImageFilter.MaxFilter(2 * rim + 1)))
    return Image.alpha_composite(rimmed, framed)


def contrast(drawing: Image.Image, behind: Image.Image) -> float:
    """Mean difference per channel between a drawing's visible pixels and an RGB image behind it."""
    pixels = np.asarray(drawing, dtype=np.float64)
    visible = pixels[:, :, 3] > 128
    if not visible.any():
        return 0.0
    return float(np.abs(pixels[:, :, :3] - np.asarray(behind, dtype=np.float64))[visible].mean())


def paint(scene: Scene, hands: dict[str, Hand]) -> Image.Image:
    """Paint the scene as an RGB image."""
    canvas = paint_background(scene.background, scene.width, scene.height)
    shorter = min(scene.width, scene.height)
    for placed in scene.objects:
        drawing = placed.variation.apply(hands[placed.hand].render(placed.hexcode, RENDER_SIZE))
        if placed.turn:
            drawing = drawing.rotate(placed.turn, Image.Resampling.BICUBIC, expand=True)
        rim = RIM_PIXELS[scene.rim]
        drawing = cut_out(drawing, max(8, round(placed.box.side * shorter)) - 2 * rim)
        if rim:
            drawing = sticker(drawing, scene.rim, rim)
        left = round(placed.box.x * shorter - drawing.width / 2)
        top = round(placed.box.y * shorter - drawing.height / 2)
        left = min(max(left, 1), scene.width - drawing.width - 1)
        top = min(max(top, 1), scene.height - drawing.height - 1)
        box = (left, top, left + drawing.width, top + drawing.height)
        if contrast(drawing, canvas.crop(box)) < MIN_CONTRAST:
            drawing, left, top = sticker(drawing, "dimgray", 1), left - 1, top - 1
        canvas.paste(drawing, (left, top), drawing)
    return canvas
