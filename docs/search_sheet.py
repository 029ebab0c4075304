"""Draws the README's sheet of a search: python docs/search_sheet.py, after `dvc repro align`.

The folder that is searched holds the pictures of both validation splits, named by what they show.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
CAPTIONS = ROOT / "artifacts" / "prepared" / "captions"
QUERY = "a car"


def write_pictures(folder: Path) -> None:
    """Writes the pictures of the validation splits, each named by its caption's first words."""
    for split in ("val_concept", "val_vendor"):
        pictures = pq.read_table(CAPTIONS / f"{split}.images.parquet")["bytes"].to_pylist()
        rows = pq.read_table(CAPTIONS / f"{split}.rows.parquet").to_pylist()
        captions = {row["image"]: row["canonical_caption"] for row in reversed(rows)}
        for place, content in enumerate(pictures):
            words = re.sub(r"\W+", "-", captions[place].split(".")[0].lower()).strip("-")
            (folder / f"{words[:40]}-{split[4]}{place}.png").write_bytes(content)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        folder.mkdir()
        write_pictures(folder)
        command = ["search", QUERY, "pictures", "--model", str(ROOT / "models" / "align")]
        command += ["--sheet", str(ROOT / "docs" / "images" / "search.png")]
        code = "from edge_glass.fusion.app.cli import main; main()"
        return subprocess.run([sys.executable, "-c", code, *command], cwd=name).returncode


if __name__ == "__main__":
    raise SystemExit(main())
