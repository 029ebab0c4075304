"""Concepts: what is drawn, in Unicode's own words, and which of them the sample keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from draws import digest, spread

# Nearly identical among themselves (clock faces, families), script rather than a drawing (squared
# letters, keycaps), or no picture of a thing (flags, skin tones).
DROPPED_SUBGROUPS = frozenset(
    {
        "alphanum",
        "country-flag",
        "family",
        "flag",
        "hair-style",
        "keycap",
        "skin-tone",
        "subdivision-flag",
    }
)
CLOCK_FACES = range(0x1F550, 0x1F568)
VARIATION_SELECTOR = "FE0F"
MIN_TRAINING_HANDS = 4


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One emoji of Unicode.

    Attributes:
        hexcode: code points in hexadecimal, joined by ``-``; without variation selectors.
        label: Unicode's name, e.g. ``red apple``.
        tags: Unicode's keywords.
        group: broad class, e.g. ``food-drink``.
        subgroup: narrow class, e.g. ``food-fruit``.
        shortcodes: names that chat programs use.
    """

    hexcode: str
    label: str
    tags: tuple[str, ...]
    group: str
    subgroup: str
    shortcodes: tuple[str, ...] = ()


def bare_hexcode(hexcode: str) -> str:
    """Upper-case hexcode without variation selectors: the key under which all packages meet."""
    return "-".join(part for part in hexcode.upper().split("-") if part != VARIATION_SELECTOR)


def read_concepts(
    entries: list[dict[str, Any]],
    groups: dict[str, dict[str, str]],
    shortcodes: list[dict[str, str | list[str]]],
) -> list[Concept]:
    """Turn emojibase's tables into concepts, in Unicode's order.

    Args:
        entries: ``en/data.json``.
        groups: ``meta/groups.json``.
        shortcodes: the tables ``en/shortcodes/*.json``.
    """
    names: dict[str, list[str]] = {}
    for table in shortcodes:
        for hexcode, value in table.items():
            found = [value] if isinstance(value, str) else value
            known = names.setdefault(bare_hexcode(hexcode), [])
            known.extend(name for name in found if name not in known)
    concepts = []
    for entry in sorted((e for e in entries if "group" in e), key=lambda e: int(e["order"])):
        hexcode = bare_hexcode(entry["hexcode"])
        concepts.append(
            Concept(
                hexcode=hexcode,
                label=entry["label"].replace("“", "").replace("”", "").replace("’", "'"),
                tags=tuple(entry.get("tags", ())),
                group=groups["groups"][str(entry["group"])],
                subgroup=groups["subgroups"][str(entry["subgroup"])],
                shortcodes=tuple(names.get(hexcode, ())),
            )
        )
    return concepts


def is_kept(concept: Concept) -> bool:
    """Whether the concept is a distinct drawing of something."""
    is_clock = int(concept.hexcode.split("-")[0], 16) in CLOCK_FACES
    return concept.subgroup not in DROPPED_SUBGROUPS and not is_clock


def held_out(concepts: list[Concept], fraction: float, seed: int) -> tuple[set[str], set[str]]:
    """Cut off concepts that training never sees, stratified by subgroup, in two halves.

    Args:
        concepts: all concepts.
        fraction: share of the concepts to hold out, both halves together.
        seed: moves the draw.

    Returns:
        The hexcodes of the first half (to choose by) and of the second (to quote).
    """
    ordered = sorted(concepts, key=lambda c: (c.subgroup, digest(seed, "held out", c.hexcode)))
    marks = spread(fraction, len(ordered))
    out = [concept.hexcode for concept, mark in zip(ordered, marks, strict=True) if mark]
    return set(out[0::2]), set(out[1::2])


def halves(concepts: list[Concept], seed: int) -> tuple[set[str], set[str]]:
    """Cut concepts in two halves, stratified by subgroup."""
    return held_out(concepts, 1.0, seed)
