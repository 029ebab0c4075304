"""Build the sample data: ``python examples/sample-data/build.py [--out data] [--cache DIR]``.

The same packages, pinned in ``packages.json``, give the same bytes, those of ``data.sha256``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captions import describe
from checksums import checksums, differences, read_checksums, write_checksums
from clipart import clip_art_rows, load_clip_art, split_clip_art
from concepts import MIN_TRAINING_HANDS, Concept, halves, held_out, is_kept, read_concepts
from damage import damage_captions, damage_questions
from hands import HELD_OUT_HAND, TRAINING_HANDS, Hand, IconifyHand, RasterHand
from pictures import QUALITY, SCENE_QUALITY, encode, encode_smaller, on_white
from questions import ask
from scenes import draw_scene, paint
from sources import Tarball, fetch, read_packages
from tqdm import tqdm
from words import Word, read_vocabulary
from writer import CAPTIONS, QUESTIONS, write

HERE = Path(__file__).parent
CHECKSUMS = HERE / "data.sha256"
SEED = 0
PICTURE_SIZE = 64  # pixels
HELD_OUT_CONCEPTS = 0.26
NUM_SCENES = {
    "train": 7000,
    **{
        f"{part}_{kind}": 240
        for kind in ("scene", "vendor", "wording", "object")
        for part in ("val", "test")
    },
}
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Everything the packages give: what can be drawn, and who draws it."""

    concepts: list[Concept]
    hands: dict[str, Hand]


def load_source(cache: Path) -> Source:
    """Fetch the packages and keep the concepts that enough hands draw."""
    tarballs = {p.hand: Tarball(fetch(p, cache)) for p in read_packages(HERE / "packages.json")}
    names = tarballs[""]
    shortcodes = [
        names.json(name)
        for name in names.names()
        if name.startswith("en/shortcodes/") and name.endswith(".json")
    ]
    concepts = read_concepts(names.json("en/data.json"), names.json("meta/groups.json"), shortcodes)
    hands: dict[str, Hand] = {}
    for name in TRAINING_HANDS:
        tarball = tarballs[name]
        hands[name] = IconifyHand(
            name, tarball.json("icons.json"), tarball.json("chars.json"), concepts
        )
    hands[HELD_OUT_HAND] = RasterHand(HELD_OUT_HAND, tarballs[HELD_OUT_HAND], "assets/")
    return Source(concepts=[c for c in concepts if is_drawn(c, hands)], hands=hands)


def is_drawn(concept: Concept, hands: dict[str, Hand]) -> bool:
    """Whether the concept is a picture that the unseen hand and nearly all the others draw."""
    drawn = sum(hands[name].draws(concept.hexcode) for name in TRAINING_HANDS)
    return (
        is_kept(concept)
        and drawn >= MIN_TRAINING_HANDS
        and hands[HELD_OUT_HAND].draws(concept.hexcode)
    )


def plan_captions(concepts: list[Concept]) -> dict[str, tuple[list[Concept], tuple[str, ...]]]:
    """Which concepts, drawn by which hands, make up each split."""
    val, test = held_out(concepts, HELD_OUT_CONCEPTS, SEED)
    seen = [c for c in concepts if c.hexcode not in val | test]
    first, second = halves(seen, SEED)

    def among(hexcodes: set[str]) -> list[Concept]:
        return [c for c in concepts if c.hexcode in hexcodes]

    return {
        "train": (seen, TRAINING_HANDS),
        "val_concept": (among(val), TRAINING_HANDS),
        "test_concept": (among(test), TRAINING_HANDS),
        "val_vendor": (among(first), (HELD_OUT_HAND,)),
        "test_vendor": (among(second), (HELD_OUT_HAND,)),
    }


def caption_rows(
    split: str, concepts: list[Concept], hands: dict[str, Hand], tick: Callable[[], object]
) -> list[Row]:
    """Rows of one captions split, in Unicode's order, hand after hand."""
    rows = []
    for concept in concepts:
        for hand in hands.values():
            if not hand.draws(concept.hexcode):
                continue
            text = describe(concept, hand.name, SEED)
            path = f"{hand.name}/{concept.hexcode.lower()}.webp"
            picture = on_white(hand.render(concept.hexcode, PICTURE_SIZE))
            rows.append(
                {
                    "image_url": f"https://example.org/emoji/{path}",
                    "caption": text.caption,
                    "transcripts": list(text.transcripts),
                    "image": {"bytes": encode_smaller(picture, QUALITY), "path": path},
                    "concept": concept.hexcode,
                    "vendor": hand.name,
                    "split": split,
                    "subgroup": concept.subgroup,
                    "canonical_caption": text.canonical,
                }
            )
            tick()
    damage_captions(rows, split, SEED)
    return rows


def question_rows(
    split: str,
    count: int,
    vocabulary: list[Word],
    hands: dict[str, Hand],
    tick: Callable[[], object],
) -> list[Row]:
    """Rows of one questions split, the questions of a scene side by side."""
    rows: list[Row] = []
    words = [word for word in vocabulary if not word.held_out]
    part = split.removesuffix("_object") if split.endswith("_object") else None
    unseen = [word for word in vocabulary if word.held_out == part]
    for index in range(count):
        scene = draw_scene(words, unseen, hands, SEED, split, index)
        path = f"{split}/{index:05d}.webp"
        image = {"bytes": encode(paint(scene, hands), SCENE_QUALITY), "path": path}
        rows.extend(
            {
                "image_url": f"https://example.org/scenes/{path}",
                "question": question.question,
                "answer": question.answer,
                "answers": list(question.answers),
                "messages": [question.question, question.answer],
                "image": image,
                "type": question.type,
                "split": split,
                "vendor": scene.hand,
            }
            for question in ask(scene, words, unseen, SEED, split, index)
        )
        tick()
    damage_questions(rows, split, SEED)
    return rows


def check_vocabulary(vocabulary: list[Word], source: Source, held_out: dict[str, set[str]]) -> None:
    """Every hand but one or two draws each word; held-out words are held-out concepts.

    Args:
        vocabulary: what scenes show.
        source: the hands.
        held_out: hexcodes of the concepts that the captions hold out, "val" and "test".

    Raises:
        ValueError: a word of the vocabulary breaks this.
    """
    drawn = {concept.hexcode for concept in source.concepts}
    for word in vocabulary:
        if missing := set(word.hexcodes) - drawn:
            raise ValueError(f"vocabulary.json: {word.word!r}: no concept has {sorted(missing)}")
        if word.held_out and not set(word.hexcodes) <= held_out[word.held_out]:
            raise ValueError(
                f"vocabulary.json: {word.word!r} is held out, but its concepts are not all in "
                f"captions/{word.held_out}_concept; leave held_out out or remove those concepts"
            )


def build(out: Path, cache: Path) -> None:
    """Write all splits below ``out``."""
    source = load_source(cache)
    plan = plan_captions(source.concepts)
    vocabulary = read_vocabulary(HERE / "vocabulary.json")
    held_out = {part: {c.hexcode for c in plan[f"{part}_concept"][0]} for part in ("val", "test")}
    check_vocabulary(vocabulary, source, held_out)
    total = sum(
        source.hands[hand].draws(concept.hexcode)
        for concepts, hands in plan.values()
        for concept in concepts
        for hand in hands
    )
    with tqdm(total=total + sum(NUM_SCENES.values()), disable=not sys.stderr.isatty()) as bar:
        for split, (concepts, names) in plan.items():
            hands = {name: source.hands[name] for name in names}
            rows = caption_rows(split, concepts, hands, bar.update)
            write(rows, CAPTIONS, out / "captions" / f"{split}.parquet")
        for split, arts in split_clip_art(load_clip_art(cache), SEED).items():
            rows = clip_art_rows(split, arts)
            write(rows, CAPTIONS, out / "captions" / f"{split}.parquet")
        for split, count in NUM_SCENES.items():
            names = (HELD_OUT_HAND,) if split.endswith("vendor") else TRAINING_HANDS
            hands = {name: source.hands[name] for name in names}
            rows = question_rows(split, count, vocabulary, hands, bar.update)
            write(rows, QUESTIONS, out / "questions" / f"{split}.parquet")
    shutil.copyfile(HERE / "ATTRIBUTION.md", out / "ATTRIBUTION.md")


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "data")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "edge-glass-npm"
    )
    parser.add_argument(
        "--accept",
        action="store_true",
        help="write data.sha256 anew, after a change of the builder",
    )
    arguments = parser.parse_args()
    build(arguments.out, arguments.cache)
    found = checksums(arguments.out)
    if arguments.accept:
        write_checksums(found, CHECKSUMS)
    different = differences(found, read_checksums(CHECKSUMS))
    if different:
        sys.exit(
            f"{arguments.out} differs from {CHECKSUMS.name}:\n  "
            + "\n  ".join(different)
            + "\nThe builder or a package (see README.md) is not the pinned one."
        )


if __name__ == "__main__":
    main()
