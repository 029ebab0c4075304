"""Clip art: drawings of the Open Clip Art Library with the titles that people gave them."""

from __future__ import annotations

import html
import io
import re
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import resvg_py
from debian import fetch_deb, read_deb, read_debian_packages
from draws import digest
from pictures import encode_smaller
from PIL import Image
from titles import clean, is_english, is_fit

HERE = Path(__file__).parent
SIZE = 128  # pixels of the longer side
QUALITY = 75
FOLDER = "usr/share/openclipart/svg/"
VENDOR = "openclipart"
PUBLIC_DOMAIN = re.compile(
    r'<cc:license rdf:resource="http://(?:web\.resource\.org/cc/PublicDomain'
    r'|creativecommons\.org/licenses/publicdomain/)"'
)
# Signs, letters, parts of icon sets, flags and maps: a title cannot describe how they look. Logos
# belong to somebody.
LEFT_OUT = re.compile(
    r"^(?:shapes|special|logos|buttons|computer/(?:icons|buttons|fonts)|decorations/borders"
    r"|signs_and_symbols/(?:flags|led|map_symbols|road|fonts|semaphore)|recreation/games/cards"
    r"|unsorted/duplicates)"
)
DPI = 96  # of lengths in points or millimetres
MAX_COPIES = 3  # of one title: more were given by a script
MAX_ASPECT = 3.0
TEXT = re.compile(r"<(?:\w+:)?(?:text|flow\w+|image)\b")  # fonts of the machine, or no drawing
MIN_INK = 0.02  # share of pixels that are not white


@dataclass(frozen=True, kw_only=True)
class ClipArt:
    """One drawing.

    Attributes:
        name: its path in the library, without suffix.
        title: cleaned.
        svg: the document.
    """

    name: str
    title: str
    svg: str


Drawn = tuple[ClipArt, Image.Image]


def read_clip_art(files: dict[str, bytes], words: Set[str], leave_out: Set[str]) -> list[ClipArt]:
    """Drawings in the public domain whose English title is about them.

    Args:
        files: of the package, by path.
        words: English words; names begin with a capital letter.
        leave_out: names that are not used.
    """
    titled: list[ClipArt] = []
    for path, data in files.items():
        name = path.removeprefix(FOLDER).removesuffix(".svg")
        svg = data.decode("utf-8", errors="replace")
        found = re.search(r"<dc:title[^>]*>(.*?)</dc:title>", svg, re.DOTALL)
        if name in leave_out or LEFT_OUT.match(name) or found is None:
            continue
        if not PUBLIC_DOMAIN.search(svg) or TEXT.search(svg):
            continue
        title = clean(html.unescape(found[1]).strip(), name)
        if title and is_english(title, words):
            titled.append(ClipArt(name=name, title=title, svg=svg))
    copies = Counter(art.title.lower() for art in titled)
    chosen = [art for art in titled if copies[art.title.lower()] <= MAX_COPIES]
    return sorted(chosen, key=lambda art: art.name)


def render_clip_art(art: ClipArt, size: int) -> Image.Image | None:
    """The drawing on white, cropped, its longer side ``size`` pixels.

    Returns:
        The image, or ``None`` if it is very long, shows hardly anything or can't be drawn.
    """
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=art.svg, width=3 * size, dpi=DPI, skip_system_fonts=True
        )
    except ValueError:  # not drawable: its document is broken
        return None
    drawn = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    canvas = Image.new("RGB", drawn.size, "white")
    canvas.paste(drawn, mask=drawn.getchannel("A"))
    ink = canvas.convert("L").point(lambda value: 255 * (value < 245))
    box = ink.getbbox()
    if box is None:
        return None
    cropped = canvas.crop(box)
    if max(cropped.size) > MAX_ASPECT * min(cropped.size):
        return None
    scale = size / max(cropped.size)
    shape = (max(1, round(cropped.width * scale)), max(1, round(cropped.height * scale)))
    small = cropped.resize(shape, Image.Resampling.LANCZOS)
    share = sum(small.convert("L").histogram()[:245]) / (shape[0] * shape[1])
    return small if share >= MIN_INK else None


def load_clip_art(cache: Path) -> list[Drawn]:
    """Fetch the library: drawings with their images, no two of which are equal."""
    packages = read_debian_packages(HERE / "packages.json")
    library, words = (fetch_deb(packages[name], cache) for name in ("openclipart-svg", "wamerican"))
    (listed,) = read_deb(words, "/american-english").values()
    leave_out = set((HERE / "clipart-left-out.txt").read_text().splitlines())
    found = read_clip_art(read_deb(library, ".svg"), set(listed.decode().split()), leave_out)
    drawn: dict[bytes, Drawn] = {}
    for art in found:
        picture = render_clip_art(art, SIZE)
        if picture is not None:
            drawn.setdefault(picture.tobytes(), (art, picture))
    return list(drawn.values())


def split_clip_art(arts: list[Drawn], seed: int) -> dict[str, list[Drawn]]:
    """Two halves that share no title.

    Unfit titles are left out of the halves, so that a longer list moves no drawing to the other.
    """
    titles = sorted({art.title.lower() for art, _ in arts}, key=lambda each: digest(seed, each))
    parts = {title: ("val", "test")[place % 2] for place, title in enumerate(titles)}
    return {
        f"{part}_other": [
            each for each in arts if parts[each[0].title.lower()] == part and is_fit(each[0].title)
        ]
        for part in ("val", "test")
    }


def clip_art_rows(split: str, arts: list[Drawn]) -> list[dict[str, Any]]:
    """Rows of one split of clip art, whose captions are people's titles."""
    return [
        {
            "image_url": f"https://example.org/{VENDOR}/{art.name}.webp",
            "caption": art.title,
            "transcripts": [],
            "image": {
                "bytes": encode_smaller(picture, QUALITY),
                "path": f"{VENDOR}/{art.name}.webp",
            },
            "concept": art.name,
            "vendor": VENDOR,
            "split": split,
            "subgroup": art.name.split("/")[0],
            "canonical_caption": art.title,
        }
        for art, picture in arts
    ]
