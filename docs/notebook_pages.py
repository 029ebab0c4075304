"""Draws executed notebooks as pictures for the docs: python docs/notebook_pages.py

No browser: cells and outputs are set with Pillow in the fonts that Matplotlib brings, so that the
same notebook gives the same bytes.
"""

from __future__ import annotations

import base64
import io
import json
import keyword
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
PAGES = {
    "notebooks/05_alignment_evaluation.ipynb": "docs/images/notebook_alignment.png",
    "notebooks/06_vlm_evaluation.ipynb": "docs/images/notebook_vlm.png",
}
WIDTH = 776  # of a column: 100 characters of code and their frame
GAP, MARGIN = 44, 30
INK, GREY, FRAME, SHADE = "#1f2328", "#6e7781", "#d0d7de", "#f6f8fa"
KEYWORD, STRING, COMMENT = "#0550ae", "#0a6b3d", "#6e7781"
FONTS = Path(matplotlib.get_data_path()) / "fonts/ttf"
Run = tuple[str, str, str]  # text, style, colour


def font(style: str, size: int) -> ImageFont.FreeTypeFont:
    name = {"": "DejaVuSans", "bold": "DejaVuSans-Bold", "italic": "DejaVuSans-Oblique"}
    path = FONTS / f"{name.get(style, 'DejaVuSansMono')}.ttf"
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def inline(text: str) -> list[Run]:
    """Markdown within a line: `code`, **bold**, *italic*."""
    runs: list[Run] = []
    for part in re.split(r"(`[^`]+`|\*\*[^*]+\*\*|\*[^*]+\*)", text):
        if part.startswith("`"):
            runs.append((part[1:-1], "mono", KEYWORD))
        elif part.startswith("**"):
            runs.append((part[2:-2], "bold", INK))
        elif part.startswith("*") and len(part) > 1:
            runs.append((part[1:-1], "italic", INK))
        elif part:
            runs.append((part, "", INK))
    return runs


def highlighted(source: str) -> list[list[Run]]:
    """Code as lines of coloured runs."""
    lines = source.split("\n")
    colours = [[INK] * len(line) for line in lines]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        strings = (tokenize.STRING, *(getattr(tokenize, n, -1) for n in ("FSTRING_MIDDLE",)))
        if token.type == tokenize.COMMENT:
            colour = COMMENT
        elif token.type in strings:
            colour = STRING
        elif token.type == tokenize.NAME and keyword.iskeyword(token.string):
            colour = KEYWORD
        else:
            continue
        (row, start), (last, end) = token.start, token.end
        for number in range(row - 1, last):
            first = start if number == row - 1 else 0
            stop = end if number == last - 1 else len(lines[number])
            colours[number][first:stop] = [colour] * (stop - first)
    shown = []
    for line, marks in zip(lines, colours, strict=True):
        runs: list[Run] = []
        for char, colour in zip(line, marks, strict=True):
            if runs and runs[-1][2] == colour:
                runs[-1] = (runs[-1][0] + char, "mono", colour)
            else:
                runs.append((char, "mono", colour))
        shown.append(runs)
    return shown


def wrapped(runs: list[Run], size: int, width: int) -> list[list[Run]]:
    lines: list[list[Run]] = [[]]
    used = 0.0
    for text, style, colour in runs:
        face = font(style, size)
        for word in re.findall(r"\S+\s*|\s+", text):
            if used and used + face.getlength(word.rstrip()) > width:
                lines.append([])
                used = 0.0
            lines[-1].append((word, style, colour))
            used += face.getlength(word)
    return lines


def drawn(lines: list[list[Run]], size: int, *, box: bool = False, label: str = "") -> Image.Image:
    """Lines of runs as a block of a column; with a frame for code."""
    pad = 10 if box else 0
    height = round(size * (1.38 if box else 1.5))
    picture = Image.new("RGB", (WIDTH, len(lines) * height + 2 * pad + 2), "white")
    draw = ImageDraw.Draw(picture)
    if box:
        shape = (0, 0, WIDTH - 1, picture.height - 2)
        draw.rounded_rectangle(shape, radius=4, fill=SHADE, outline=FRAME)
        draw.text((WIDTH - 8, 5), label, GREY, font("mono", 9), anchor="ra")
    for number, runs in enumerate(lines):
        place = float(pad)
        for text, style, colour in runs:
            face = font(style, size)
            draw.text((place, pad + number * height), text, colour, face)
            place += face.getlength(text)
    return picture


def table(lines: list[str]) -> Image.Image:
    """A Markdown table; a column with a colon at the right is set right."""
    head, rule, *rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    right = [cell.endswith(":") for cell in rule]
    cells = [head, *rows]
    faces = [font("bold", 12), *[font("", 12)] * len(rows)]
    widths = [
        round(max(face.getlength(row[n]) for face, row in zip(faces, cells, strict=True))) + 22
        for n in range(len(head))
    ]
    picture = Image.new("RGB", (WIDTH, 23 * len(cells) + 4), "white")
    draw = ImageDraw.Draw(picture)
    for number, (face, row) in enumerate(zip(faces, cells, strict=True)):
        place, top = 0, 23 * number
        if number % 2 == 0 and number:
            draw.rectangle((0, top, sum(widths), top + 22), fill=SHADE)
        for cell, width, is_right in zip(row, widths, right, strict=True):
            at, anchor = (place + width - 10, "ra") if is_right else (place + 10, "la")
            draw.text((at, top + 4), cell, INK, face, anchor=anchor)
            place += width
    draw.line((0, 23, sum(widths), 23), fill=FRAME)
    return picture


def markdown(text: str) -> Iterator[Image.Image]:
    for block in re.split(r"\n\s*\n|(?<=[^|])\n(?=\|)", text.strip()):
        head, _, rest = block.strip().partition("\n")
        if head.startswith("|"):
            yield table(block.strip().splitlines())
            continue
        if head.startswith("#"):
            level = len(head) - len(head.lstrip("#"))
            size = {1: 22, 2: 17}.get(level, 14)
            runs = [(each, "bold", INK) for each, _, _ in inline(head.lstrip("# "))]
            yield drawn(wrapped(runs, size, WIDTH), size)
            head = ""
        body = " ".join(f"{head}\n{rest}".split())
        if body:
            yield drawn(wrapped(inline(body), 13, WIDTH), 13)


def picture_of(data: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    if image.width > WIDTH:
        size = (WIDTH, round(image.height * WIDTH / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    block = Image.new("RGB", (WIDTH, image.height), "white")
    block.paste(image, ((WIDTH - image.width) // 2, 0))
    return block


def output(entry: dict[str, Any]) -> Iterator[Image.Image]:
    data = entry.get("data", {})
    images = [value for kind, value in data.items() if kind in ("image/png", "image/jpeg")]
    text = "".join(entry.get("text", data.get("text/plain", "")))
    if images:
        yield picture_of("".join(images[0]))
    elif "text/markdown" in data:
        yield from markdown("".join(data["text/markdown"]))
    elif text:
        lines = [
            line[at : at + 100]
            for line in text.rstrip().split("\n")
            for at in range(0, max(1, len(line)), 100)
        ]
        yield drawn([[(line, "mono", INK)] for line in lines], 12)


def cell_blocks(cell: dict[str, Any]) -> list[Image.Image]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return list(markdown(source))
    label = f"[{cell['execution_count']}]"
    blocks = [drawn(highlighted(source), 12, box=True, label=label)]
    for entry in cell["outputs"]:
        blocks += output(entry)
    return blocks


def page(notebook: Path) -> Image.Image:
    """The notebook in two columns, broken between cells, never behind a heading."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    groups: list[list[Image.Image]] = []  # what stays together: a text and the cell below it
    joins = False
    for cell in cells:
        if joins:
            groups[-1] += cell_blocks(cell)
        else:
            groups.append(cell_blocks(cell))
        joins = cell["cell_type"] == "markdown"
    heights = [sum(block.height + 12 for block in group) for group in groups]
    at = min(range(1, len(groups)), key=lambda n: max(sum(heights[:n]), sum(heights[n:])))
    columns = [groups[:at], groups[at:]]
    height = max(sum(heights[:at]), sum(heights[at:])) + 2 * MARGIN
    sheet = Image.new("RGB", (2 * WIDTH + GAP + 2 * MARGIN, height), "white")
    for number, column in enumerate(columns):
        top = MARGIN
        for block in (block for group in column for block in group):
            sheet.paste(block, (MARGIN + number * (WIDTH + GAP), top))
            top += block.height + 12
    middle = MARGIN + WIDTH + GAP // 2
    ImageDraw.Draw(sheet).line((middle, MARGIN, middle, height - MARGIN), fill=FRAME)
    return sheet


def main() -> None:
    for notebook, target in PAGES.items():
        sheet = page(ROOT / notebook).quantize(
            160, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
        sheet.save(ROOT / target, optimize=True)
        size = (ROOT / target).stat().st_size / 1024
        print(f"{target}: {sheet.width} × {sheet.height}, {size:.0f} KB")


if __name__ == "__main__":
    main()
