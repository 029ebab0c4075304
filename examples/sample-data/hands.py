"""Hands: the drawing styles, each a mapping from concept to picture."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import resvg_py
from concepts import Concept, bare_hexcode
from PIL import Image
from sources import Tarball

TRAINING_HANDS = ("noto", "noto_v1", "twemoji", "emojione", "fxemoji")
HELD_OUT_HAND = "fluent_3d"
TRANSFORMS = frozenset({"rotate", "hFlip", "vFlip"})
ALIASES = json.loads((Path(__file__).parent / "aliases.json").read_text())


class Hand(Protocol):
    """One drawing style."""

    name: str

    def draws(self, hexcode: str) -> bool:
        """Whether this hand has a picture of the concept."""

    def render(self, hexcode: str, size: int) -> Image.Image:
        """Draw the concept as a square RGBA picture of ``size`` pixels."""


def squeeze(name: str) -> str:
    """Letters and digits of a name in lower case: what differently spelt names have in common."""
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", name.lower()))


def unicode_name(concept: Concept) -> str:
    """Name of the character in the Unicode database; empty for sequences."""
    if "-" in concept.hexcode:
        return ""
    return unicodedata.name(chr(int(concept.hexcode, 16)), "")


def match_names(
    names: Iterable[str], concepts: list[Concept], known: dict[str, str]
) -> dict[str, str]:
    """Match icon names to concepts, each icon to one concept at most.

    Sure matches go first: the hand's own table, then Unicode's label, then the character's name,
    then the names of chat programs. An icon taken by a surer match is not given away again.

    Args:
        names: the hand's icon names.
        concepts: what may be drawn.
        known: icon name to hexcode, by inspection; an empty hexcode leaves the icon out.

    Returns:
        Hexcode to icon name.
    """
    free = {squeeze(name): name for name in sorted(names)}
    matched: dict[str, str] = {}
    for name, hexcode in known.items():
        found = free.pop(squeeze(name))
        if hexcode:
            matched[hexcode] = found
    for rule in (
        lambda concept: [concept.label],
        lambda concept: [unicode_name(concept)],
        lambda concept: list(concept.shortcodes),
    ):
        for concept in concepts:
            if concept.hexcode in matched:
                continue
            for key in map(squeeze, rule(concept)):
                if key in free:
                    matched[concept.hexcode] = free.pop(key)
                    break
    return matched


class IconifyHand:
    """A hand whose drawings are the SVG bodies of an Iconify JSON set."""

    def __init__(
        self, name: str, icons: dict[str, Any], chars: dict[str, str], concepts: list[Concept]
    ) -> None:
        """Match the set's icons to concepts.

        Args:
            name: the hand's name.
            icons: ``icons.json`` of the set.
            chars: ``chars.json`` of the set, hexcode to icon name; may be empty.
            concepts: what may be drawn.
        """
        self.name = name
        self._icons = icons
        bodies = dict(icons["icons"])
        for alias, entry in icons.get("aliases", {}).items():
            # A turned or mirrored alias would need its transform; no concept depends on one.
            if entry["parent"] in bodies and not TRANSFORMS & entry.keys():
                bodies[alias] = bodies[entry["parent"]]
        self._bodies: dict[str, dict[str, Any]] = bodies
        if chars:
            # Plain spellings win over those with a variation selector.
            ordered = sorted(chars.items(), key=lambda item: (-len(item[0]), item[0]))
            found = {bare_hexcode(code): icon for code, icon in ordered if icon in bodies}
            self.matched = {c.hexcode: found[c.hexcode] for c in concepts if c.hexcode in found}
        else:
            self.matched = match_names(bodies, concepts, ALIASES.get(name, {}))

    def draws(self, hexcode: str) -> bool:
        return hexcode in self.matched

    def svg(self, hexcode: str) -> str:
        """The concept's drawing as an SVG document."""
        icon = self._bodies[self.matched[hexcode]]
        left, top = icon.get("left", 0), icon.get("top", 0)
        width = icon.get("width", self._icons.get("width", 16))
        height = icon.get("height", self._icons.get("height", 16))
        if "<text" in icon["body"]:
            raise ValueError(
                f"{self.name}/{self.matched[hexcode]} holds <text>: its pixels would depend on the "
                "machine's fonts; leave the concept out"
            )
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
        )

    @lru_cache(maxsize=2048)  # noqa: B019 - a hand lives as long as the build
    def render(self, hexcode: str, size: int) -> Image.Image:
        png = resvg_py.svg_to_bytes(
            svg_string=self.svg(hexcode), width=size, height=size, skip_system_fonts=True
        )
        return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


class RasterHand:
    """A hand whose drawings are picture files named by their code points."""

    def __init__(self, name: str, tarball: Tarball, folder: str) -> None:
        self.name = name
        self._tarball = tarball
        # Plain spellings, being shorter, come last and win.
        files = sorted((n for n in tarball.names() if n.startswith(folder)), key=lambda n: -len(n))
        self.matched = {bare_hexcode(Path(file).stem): file for file in files}

    def draws(self, hexcode: str) -> bool:
        return hexcode in self.matched

    @lru_cache(maxsize=2048)  # noqa: B019 - a hand lives as long as the build
    def render(self, hexcode: str, size: int) -> Image.Image:
        picture = Image.open(io.BytesIO(self._tarball.read(self.matched[hexcode])))
        # Premultiplied, so that the colour of transparent pixels does not bleed into the edges.
        premultiplied = picture.convert("RGBA").convert("RGBa")
        return premultiplied.resize((size, size), Image.Resampling.LANCZOS).convert("RGBA")
