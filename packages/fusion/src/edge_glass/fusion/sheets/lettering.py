"""Text on sheets: each character in the first font that has it, or as a visible escape.

Pillow's built-in font comes first, then DejaVu Sans as matplotlib ships it. Both are the same on
every machine, so that sheets of stages have equal bytes everywhere. Only sheets that nothing
certifies use the fonts of the machine as well, for characters that these two lack.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from edge_glass.fusion.sheets.machine_fonts import FontFile, fonts_with

NOT_A_CHARACTER = "\U0010fffe"  # drawn as what a font shows for characters that it lacks
JOINERS = "\ufe0f\ufe0e\u200d"  # between the parts of an emoji; they show nothing
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
BITMAP_SIZES = (109, 128, 136, 160, 96, 64)  # of fonts that hold images, such as colour emoji
MAX_FONTS = 12  # of the machine, on one sheet


class Face:
    """A font at one size; fonts that hold images of one size are scaled to it."""

    def __init__(self, file: FontFile | None, size: int, *, shape: bool = False) -> None:
        """Opens a font; None is Pillow's own. `shape` joins and orders letters, if Pillow can.

        Raises:
            OSError: if it can't be opened.
        """
        self.scale = 1.0
        self.shape = shape
        if file is None:
            built_in = ImageFont.load_default(size)
            assert isinstance(built_in, ImageFont.FreeTypeFont)  # with a size it always is
            self.font = self.probe = built_in
            return
        basic, raqm = ImageFont.Layout.BASIC, ImageFont.Layout.RAQM
        for each in (size, *BITMAP_SIZES):
            try:
                # shaping draws an accent alone on a circle, even if the font lacks it
                self.probe = ImageFont.truetype(str(file.path), each, file.index, "", basic)
                self.font = ImageFont.truetype(
                    str(file.path), each, file.index, "", raqm if shape else basic
                )
            except OSError as error:
                if "pixel size" not in str(error):
                    raise
                continue
            self.scale = size / each
            return
        raise OSError(f"{file.path}: a font of images of an unknown size")

    @functools.cached_property
    def _missing(self) -> tuple[tuple[int, int], bytes]:
        return self._mask(NOT_A_CHARACTER)

    def _mask(self, character: str) -> tuple[tuple[int, int], bytes]:
        mask = self.probe.getmask(character, "L")
        return mask.size, bytes(mask)

    @functools.lru_cache(maxsize=4096)  # noqa: B019 - faces live as long as the process
    def has(self, character: str) -> bool:
        """Returns whether the font shows a character."""
        if unicodedata.category(character) in INVISIBLE:
            return False
        if character == " ":
            return True
        found = self._mask(character)
        return any(found[1]) and found != self._missing

    def length(self, text: str) -> float:
        """Returns the width of a text in pixels."""
        return self.font.getlength(text) * self.scale

    def draw(
        self, draw: ImageDraw.ImageDraw, left: float, baseline: float, text: str, colour: str
    ) -> None:
        """Draws a text whose letters stand on a baseline."""
        if not self.shape and unicodedata.bidirectional(text[0]) in ("R", "AL"):
            text = text[::-1]  # read from the right
        if self.scale == 1.0:
            draw.text((left, baseline), text, colour, self.font, anchor="ls")
            return
        width, (above, below) = round(self.font.getlength(text)), self.font.getmetrics()
        layer = Image.new("RGBA", (max(1, width), above + below))
        ImageDraw.Draw(layer).text(
            (0, above), text, colour, self.font, anchor="ls", embedded_color=True
        )
        size = max(1, round(layer.width * self.scale)), max(1, round(layer.height * self.scale))
        layer = layer.resize(size, Image.Resampling.LANCZOS)
        place = round(left), round(baseline - above * self.scale)
        draw._image.paste(layer, place, layer)


class Lettering:
    """Measures and draws texts at one size.

    Args:
        size: in pixels.
        of_machine: whether fonts of the machine are used too.
    """

    def __init__(self, size: int, *, of_machine: bool = False) -> None:
        self.size, self.of_machine = size, of_machine
        self.faces = [Face(None, size)]
        if (file := dejavu()) is not None:
            self.faces.append(Face(file, size, shape=of_machine and can_shape()))

    def readable(self, text: str) -> str:
        """Returns a text in which every character can be drawn; the others become escapes."""
        text = unicodedata.normalize("NFC", text)  # some systems store é as e and an accent
        return "".join(
            character if self._face(character) else _escape(character)
            for character in text
            if character not in JOINERS
        )

    def length(self, text: str) -> float:
        """Returns the width of a readable text in pixels."""
        return sum(face.length(run) for face, run in self._runs(text))

    def draw(
        self, draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: str
    ) -> None:
        """Draws a readable text; `place` is its left and its top."""
        runs = list(self._runs(text))
        first = self.faces[0]
        if all(face is first for face, _ in runs):
            draw.text(place, text, colour, first.font)
            return
        left, baseline = place[0], place[1] + first.font.getmetrics()[0]
        for face, run in runs:
            face.draw(draw, left, baseline, run, colour)
            left += face.length(run)

    def _face(self, character: str) -> Face | None:
        for face in self.faces:
            if face.has(character):
                return face
        if not self.of_machine or len(self.faces) > MAX_FONTS:
            return None
        for file in fonts_with(character):
            found = _open_face(file, self.size)
            if found is not None and found.has(character):
                self.faces.append(found)
                return found
        return None

    def _runs(self, text: str) -> Iterator[tuple[Face, str]]:
        """Yields the parts of a text that one font draws; accents and spaces stay with theirs."""
        faces: list[Face] = []
        for character in text:
            own = self._face(character) or self.faces[0]
            stays = character == " " or unicodedata.category(character).startswith("M")
            stays = stays and bool(faces) and faces[-1].scale == 1.0 and faces[-1].has(character)
            faces.append(faces[-1] if stays else own)
        place = 0
        for face, group in itertools.groupby(faces):
            count = len(list(group))
            yield face, text[place : place + count]
            place += count


@functools.lru_cache(maxsize=32)
def lettering(size: int, *, of_machine: bool = False) -> Lettering:
    """Returns the lettering of a size; `of_machine` also uses the fonts of the machine."""
    return Lettering(size, of_machine=of_machine)


@functools.lru_cache(maxsize=2048)
def _open_face(file: FontFile, size: int) -> Face | None:
    try:
        face = Face(file, size, shape=can_shape())
        face.has("a")  # some fonts fail only now
    except (OSError, ValueError):  # not a font that Pillow reads
        return None
    return face


@functools.cache
def dejavu() -> FontFile | None:
    """Returns DejaVu Sans of matplotlib, if matplotlib is installed."""
    found = importlib.util.find_spec("matplotlib")
    for folder in (found.submodule_search_locations if found else None) or ():
        path = Path(folder) / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        if path.is_file():
            return FontFile(path=path)
    return None


@functools.cache
def can_shape() -> bool:
    """Returns whether Pillow can join and order the letters of Arabic, Hindi and others."""
    return bool(features.check("raqm") and features.check("fribidi"))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
