"""Words, hands and scenes for tests."""

from __future__ import annotations

from backgrounds import COLOURS, Background
from hands import Hand
from PIL import Image, ImageDraw
from placing import Box
from scenes import Placed, Scene
from words import Word


class DotHand:
    """Draws every concept as the same off-centre black disc."""

    def __init__(self, name: str, skip: frozenset[str] = frozenset()) -> None:
        self.name = name
        self.skip = skip

    def draws(self, hexcode: str) -> bool:
        return hexcode not in self.skip

    def render(self, hexcode: str, size: int) -> Image.Image:
        picture = Image.new("RGBA", (size, size))
        ImageDraw.Draw(picture).ellipse((0, 0, size // 2, size // 2), fill=(0, 0, 0, 255))
        return picture


def word(name: str, kind: str = "animal", number: int = 0, **fields: object) -> Word:
    return Word(word=name, kind=kind, hexcodes=(f"{0x1F000 + number:X}",), **fields)  # type: ignore[arg-type]


WORDS = [
    word(name, kind, number, also=also, common=number % 2 == 0)
    for number, (name, kind, also) in enumerate(
        [
            ("dog", "animal", ("hound",)),
            ("cat", "animal", ()),
            ("ear of corn", "vegetable", ()),
            ("lemon", "fruit", ()),
            ("train", "vehicle", ()),
            ("mouse", "animal", ()),
            ("hat", "clothing", ()),
            ("bell", "tool", ("chime",)),
            ("bus", "vehicle", ()),
            ("candy", "food", ()),
            ("box of popcorn", "food", ()),
            ("hourglass", "device", ()),
        ]
    )
]
UNSEEN = [
    word(name, WORDS[number].kind, 100 + number, held_out="val")
    for number, name in enumerate(
        ("ox", "gorilla", "eagle", "poodle", "unicorn", "shell", "leopard", "rat", "goat")
    )
]
HANDS: dict[str, Hand] = {"a": DotHand("a"), "b": DotHand("b", frozenset({WORDS[0].hexcodes[0]}))}
BLUE = Background(colour="blue", style="plain", shades=((60, 120, 220), (60, 120, 220)))
assert BLUE.colour in COLOURS


def placed(what: Word, x: float, y: float, side: float = 0.3) -> Placed:
    return Placed(word=what, hexcode=what.hexcodes[0], hand="a", box=Box(x=x, y=y, side=side))


def scene(*objects: Placed, background: Background = BLUE, rim: str = "none") -> Scene:
    return Scene(width=100, height=100, background=background, rim=rim, objects=objects)
