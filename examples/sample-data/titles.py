"""Titles: what people called their drawings, without what upload forms and scripts added."""

from __future__ import annotations

import re
from collections.abc import Set

MAX_WORDS = 8
# "Clipart by A B - title": such titles were copied to whole folders.
SERIES = re.compile(r"^clip ?art by .*? - ", re.IGNORECASE)
JUNK = re.compile(
    r"\b(?:hash|0x[0-9a-f]+|svg|png|jpe?g|clip ?arts?|collection|theme|iconset|icons?|example"
    r"|submission|untitled|unnamed|test|version|illustration|elements?|set|buttons?)\b",
    re.IGNORECASE,
)
BLACK_AND_WHITE = re.compile(r"\(?\bb ?(?:and|&|n) ?w\b\)?|\bbw\b", re.IGNORECASE)
JOINED = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
# Titles that name no thing in particular.
VAGUE = frozenset(
    {
        *("animal", "art", "card", "cartoon", "circle", "color", "colour", "drawing", "home"),
        *("image", "map", "people", "person", "picture", "shape", "sign", "simple", "sport"),
        *("symbol", "thing"),
    }
)
# Parts of page layouts, and what a sample for everybody need not show.
UNFIT = frozenset({"cannabis", "corner", "crop", "naked", "nude", "sexy", "stripper"})


def file_name_words(path: str) -> str:
    """The last part of a path as words: what a title is that nobody thought about."""
    return re.sub(r"[\W_\d]+", " ", path.rsplit("/", 1)[-1]).strip().lower()


def clean(title: str, path: str) -> str:
    """A title as a person would write it; empty if it is not about this drawing.

    Args:
        title: as stored in the file.
        path: of the file, without suffix: a title that a script gave to a whole folder is kept only
            if it names the file.
    """
    series = SERIES.match(title)
    if series:
        title = title[series.end() :]
        if file_name_words(title) != file_name_words(path):
            return ""
    if JUNK.search(title.replace("_", " ")):
        return ""
    title = BLACK_AND_WHITE.sub(" in black and white ", title)
    title = JOINED.sub(" ", title.replace("_", " "))
    title = re.sub(r"\s*-\s+|\s+-\s*", ", ", title).replace("-", " ")
    title = re.sub(r"[()\[\]]", " ", title)
    title = re.sub(r"[#\s]*\b\d+\b", " ", title)
    title = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(title.split())).strip(" ,.;:")
    return title[:1].upper() + title[1:].lower()


def is_english(title: str, words: Set[str]) -> bool:
    """Whether a title of up to eight words is made of English words, one of them no name.

    Args:
        title: cleaned.
        words: English words; names begin with a capital letter.
    """
    found = [word.removesuffix("'s") for word in re.findall(r"[a-z']+", title.lower())]
    known = all(word in words or word.capitalize() in words for word in found)
    letters = [word for word in found if len(word) == 1 and word not in "ai"]
    telling = [word for word in found if word in words and len(word) > 2 and word not in VAGUE]
    return bool(telling) and known and not letters and len(found) <= MAX_WORDS and title.isascii()


def is_fit(title: str) -> bool:
    """Whether no word of a title is in ``UNFIT``."""
    return not UNFIT & set(re.findall(r"[a-z]+", title.lower()))
