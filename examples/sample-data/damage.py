"""Damage: rows broken on purpose, in the ways in which rows of a crawled data set are broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from draws import digest
from pictures import banner, truncated, web_page

Row = dict[str, Any]
BLANK = " \t\n "
PICTURE_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": truncated,
    "html": web_page,
    "aspect": banner,
}
TEXT_DAMAGE = {"empty": "", "blank": BLANK}
# How many captions' rows a split loses to each kind, and how many scenes and answers.
CAPTION_DAMAGE = {
    "train": {"truncated": 10, "html": 8, "aspect": 6, "empty": 8, "blank": 6},
    "val_concept": {"truncated": 2, "html": 1, "aspect": 1, "empty": 1, "blank": 1},
}
SCENE_DAMAGE = {
    "train": {"truncated": 3, "html": 2, "aspect": 2},
    "val_scene": {"truncated": 1},
}
ANSWER_DAMAGE = {
    "train": {"empty": 8, "blank": 6},
    "val_scene": {"empty": 2, "blank": 1},
}


def assign(keys: Sequence[str], damage: dict[str, int], *draw: str | int) -> dict[str, str]:
    """Choose which rows suffer what.

    Args:
        keys: an identifier for each row.
        damage: how many rows for each kind of damage.
        draw: key of the draw.

    Returns:
        Identifier to kind of damage, for the chosen rows.

    Raises:
        ValueError: more damage than rows.
    """
    kinds = [kind for kind, count in damage.items() for _ in range(count)]
    if len(kinds) > len(keys):
        raise ValueError(f"{len(kinds)} rows to break among {len(keys)}: ask for fewer")
    chosen = sorted(keys, key=lambda key: digest(*draw, "damage", key))[: len(kinds)]
    return dict(zip(chosen, kinds, strict=True))


def break_picture(row: Row, kind: str) -> None:
    """Break the row's picture in place."""
    image = row["image"]
    row["image"] = {**image, "bytes": PICTURE_DAMAGE[kind](image["bytes"])}


def break_text(row: Row, field: str, kind: str) -> None:
    """Break one of the row's texts in place."""
    row[field] = TEXT_DAMAGE[kind]


def damage_captions(rows: list[Row], split: str, seed: int) -> None:
    """Break rows of a captions split in place."""
    plan = assign(
        [row["image_url"] for row in rows], CAPTION_DAMAGE.get(split, {}), seed, "captions", split
    )
    for row in rows:
        kind = plan.get(row["image_url"])
        if kind in PICTURE_DAMAGE:
            break_picture(row, kind)
        elif kind is not None:
            break_text(row, "caption", kind)


def damage_questions(rows: list[Row], split: str, seed: int) -> None:
    """Break scenes (all of their rows) and answers of a questions split in place."""
    scenes = sorted({row["image_url"] for row in rows})
    pictures = assign(scenes, SCENE_DAMAGE.get(split, {}), seed, "scenes", split)
    sound = [f"{r['image_url']} {r['question']}" for r in rows if r["image_url"] not in pictures]
    answers = assign(sound, ANSWER_DAMAGE.get(split, {}), seed, "answers", split)
    for row in rows:
        if row["image_url"] in pictures:
            break_picture(row, pictures[row["image_url"]])
        kind = answers.get(f"{row['image_url']} {row['question']}")
        if kind is not None:
            break_text(row, "answer", kind)
            row["messages"] = [row["question"], row["answer"]]
