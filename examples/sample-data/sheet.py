"""Draw a sheet of the data as a person sees it: ``python examples/sample-data/sheet.py``.

Captions on top, one concept per row and one hand per column; clip art with titles; scenes with
their questions below.
"""

from __future__ import annotations

import argparse
import io
import textwrap
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hands import HELD_OUT_HAND, TRAINING_HANDS
from PIL import Image, ImageDraw, ImageFont, ImageOps

HERE = Path(__file__).parent
CONCEPTS = ("1F436", "1F34E", "1F682", "1F3B8", "1F60E", "1F680")
NUM_SCENES = 8
CAPTION_SIZE = 64  # pixels, of a captions' picture
SCENE_SIZE = 204  # pixels of a scene's longer side
LINE = SCENE_SIZE // 6  # pixels per question
NUM_TITLED = 24
TITLED_SIZE = 112  # pixels of the longer side
PER_ROW = 8
MARGIN = 12
WIDTH = 1000
Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """Rows of one split."""
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def picture(row: Row) -> Image.Image:
    """The row's picture."""
    return Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")


def draw_captions(sheet: Image.Image, data: Path, top: int) -> int:
    """Draw the captions; returns the y of their lower edge, in pixels."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    rows = [
        row
        for split in ("train", "val_vendor", "test_vendor")
        for row in read(data / "captions" / f"{split}.parquet")
    ]
    drawn = {(row["concept"], row["vendor"]): row for row in rows}
    hands = (*TRAINING_HANDS, HELD_OUT_HAND)
    for column, hand in enumerate(hands):
        pen.text(
            (MARGIN + column * (CAPTION_SIZE + 8), top), hand, "gray", ImageFont.load_default(12)
        )
    top += 20
    for concept in CONCEPTS:
        for column, hand in enumerate(hands):
            if (concept, hand) in drawn:
                left = MARGIN + column * (CAPTION_SIZE + 8)
                sheet.paste(picture(drawn[concept, hand]), (left, top))
        left = MARGIN + len(hands) * (CAPTION_SIZE + 8) + MARGIN
        text = textwrap.fill(drawn[concept, TRAINING_HANDS[0]]["caption"], 66)
        pen.multiline_text((left, top + 8), text, "black", font, spacing=6)
        top += CAPTION_SIZE + 8
    return top


def draw_scenes(sheet: Image.Image, data: Path, top: int) -> None:
    """Draw the first scenes of each kind, two a row."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    scenes: dict[str, list[Row]] = {}
    for split in ("test_scene", "test_vendor", "test_wording", "test_object"):
        found: dict[str, list[Row]] = {}
        for row in read(data / "questions" / f"{split}.parquet"):
            found.setdefault(row["image_url"], []).append(row)
        scenes.update(list(found.items())[: NUM_SCENES // 4])
    for place, rows in enumerate(scenes.values()):
        left = MARGIN + (place % 2) * (WIDTH // 2)
        upper = top + place // 2 * (SCENE_SIZE + MARGIN)
        sheet.paste(ImageOps.contain(picture(rows[0]), (SCENE_SIZE, SCENE_SIZE)), (left, upper))
        for line, row in enumerate(rows):
            pen.multiline_text(
                (left + SCENE_SIZE + MARGIN, upper + LINE * line),
                textwrap.fill(f"{row['question']} [{row['answer']}]", 46),
                "black",
                font,
                spacing=2,
            )


def draw_titled(sheet: Image.Image, data: Path, top: int) -> int:
    """Draw clip art with its titles; returns the y of its lower edge, in pixels."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    rows = read(data / "captions" / "test_other.parquet")
    step = (WIDTH - 2 * MARGIN) // PER_ROW
    for place, row in enumerate(rows[:: len(rows) // NUM_TITLED][:NUM_TITLED]):
        left, upper = MARGIN + place % PER_ROW * step, top + place // PER_ROW * (TITLED_SIZE + 44)
        sheet.paste(ImageOps.contain(picture(row), (TITLED_SIZE, TITLED_SIZE)), (left, upper))
        text = textwrap.shorten(textwrap.fill(row["caption"], 18), 36, placeholder=" …")
        pen.multiline_text(
            (left, upper + TITLED_SIZE + 4), textwrap.fill(text, 18), "black", font, spacing=2
        )
    return top + NUM_TITLED // PER_ROW * (TITLED_SIZE + 44)


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "data")
    parser.add_argument("--out", type=Path, default=HERE / "sheet.png")
    arguments = parser.parse_args()
    height = 2 * MARGIN + 20 + len(CONCEPTS) * (CAPTION_SIZE + 8) + MARGIN
    height += NUM_TITLED // PER_ROW * (TITLED_SIZE + 44) + MARGIN
    scenes = NUM_SCENES // 2 * (SCENE_SIZE + MARGIN)
    sheet = Image.new("RGB", (WIDTH, height + scenes), "white")
    end = draw_captions(sheet, arguments.data, MARGIN)
    end = draw_titled(sheet, arguments.data, end + MARGIN)
    draw_scenes(sheet, arguments.data, end + MARGIN)
    sheet.quantize(128, dither=Image.Dither.NONE).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
