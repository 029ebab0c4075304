"""Draws a conversation in a terminal: python docs/chat_page.py, after `dvc repro vlm_qa`.

A real session of `edge-glass chat` in a pseudo-terminal: the questions are typed when the prompt
appears, and what the terminal shows is drawn.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import resvg_py
from PIL import Image
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
QUESTIONS = ROOT / "artifacts" / "prepared" / "questions"
PICTURE = ROOT / "docs" / "images" / "chat.png"
SPLIT, TYPES = "val_scene", ("total", "count", "where", "colour", "exists")
PROMPT, WIDTH, SCALE, GAP = "> ", 78, 1.5, 24
CODE = "from edge_glass.fusion.app.cli import main; main()"


def scene() -> tuple[bytes, list[str]]:
    """Returns the first image with a question of each type, and these questions."""
    rows = pq.read_table(QUESTIONS / f"{SPLIT}.rows.parquet").to_pylist()
    asked: dict[int, dict[str, str]] = {}
    for row in rows:
        asked.setdefault(row["image"], {}).setdefault(row["type"], row["question"])
    image = max(asked, key=lambda each: len(asked[each].keys() & set(TYPES)))
    images = pq.read_table(QUESTIONS / f"{SPLIT}.images.parquet")["bytes"]
    questions = [asked[image][kind] for kind in TYPES if kind in asked[image]]
    return images[image].as_py(), questions


def session(folder: Path, lines: list[str]) -> str:
    """Types lines into a terminal, one per prompt; returns what it shows."""
    command = ["chat", "scene.png", "--model", str(ROOT / "models" / "vlm_qa")]
    master, slave = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-c", CODE, *command],
        cwd=folder, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        os.close(slave)
        for line in [*lines, "/quit"]:
            waiting = shown.count(PROMPT.encode())
            while shown.count(PROMPT.encode()) == waiting:
                shown += os.read(master, 1024)
            os.write(master, f"{line}\n".encode())
        process.wait()
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r", "")
    return text.partition(f"{PROMPT}/quit")[0].rstrip()


def main() -> int:
    content, questions = scene()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "scene.png").write_bytes(content)
        text = session(Path(name), questions)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text("$ edge-glass chat scene.png"))
    for line in text.splitlines():
        console.print(Text(line, style="bold" if line.startswith(PROMPT) else ""))
    svg = console.export_svg(title="edge-glass chat", clear=False)
    # the fonts of the SVG are on the web; a monospaced one of the machine takes their place
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "DejaVu Sans Mono")
    terminal = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=SCALE))))
    beside_scene(content, terminal.convert("RGBA")).save(PICTURE, optimize=True)
    print(text)
    return 0


def beside_scene(content: bytes, terminal: Image.Image) -> Image.Image:
    """Returns the scene that is asked about, with the terminal beside it."""
    side = terminal.height
    picture = Image.new("RGB", (side + GAP + terminal.width, side), "white")
    picture.paste(Image.open(io.BytesIO(content)).convert("RGB").resize((side, side)), (0, 0))
    picture.paste(terminal, (side + GAP, 0), terminal)
    return picture.quantize(128)


if __name__ == "__main__":
    raise SystemExit(main())
