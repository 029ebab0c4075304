"""Images that an import checks: which are left out, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

import tiny_sources
from edge_glass.fusion.sheets.contact_sheet import save_sheet
from edge_glass.training.ingest.project import View
from edge_glass.training.ingest.reading.source import Source
from edge_glass.training.ingest.report import Report
from edge_glass.training.ingest.session import ImportConfig, import_data
from tiny_pixmo import COLOURS, picture

VIEW = View(size=64)


def run(source: Path, out: Path, *, read: dict[str, Any] | None = None, **options: Any) -> Report:
    return import_data(Source(path=source, **(read or {})), out, ImportConfig(**options), VIEW)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [
        row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def test_bad_images_are_rows_of_the_report(tmp_path: Path) -> None:
    source = tmp_path / "source"
    tiny_sources.pairs(source)
    (source / "red.png").write_bytes(picture("red", 0)[:60])
    (source / "green.png").write_bytes(b"GIF is not")
    (source / "blue.png").write_bytes(b"")
    (source / "IMG.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    (source / "IMG.txt").write_text("from a phone")
    (source / "evil.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (source / "evil.txt").write_text("PostScript")
    save_sheet(Image.new("RGB", (40, 40)), source / "found.png", mark=True)
    (source / "found.txt").write_text("what a search found")
    report = run(source, tmp_path / "out")
    lines = (tmp_path / "out/report/drops.jsonl").read_text().splitlines()
    drops = {drop["file"]: drop for drop in map(json.loads, lines)}
    assert drops["red.txt"]["reason"] == "truncated_image"
    assert drops["red.txt"]["detail"].startswith("red.png: ")
    assert drops["green.txt"]["reason"] == "not_an_image"
    assert drops["blue.txt"]["reason"] == "empty_file"
    assert drops["IMG.txt"]["reason"] == "needs_plugin"
    assert "pillow-heif" in drops["IMG.txt"]["detail"]
    assert drops["evil.txt"]["reason"] in ("unsupported_format", "not_an_image")
    assert drops["found.txt"]["reason"] == "own_sheet"
    assert report.rows["captions"] == len(COLOURS) - 3
    text = (tmp_path / "out/report/report.txt").read_text()
    assert "red.txt:1: red.png:" in text
    counted = json.loads((tmp_path / "out/report/import.json").read_text())["dropped"]
    assert sum(counted.values()) == len(drops) == 6
    assert counted["truncated_image"] == 1


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_cut_anywhere_is_found(progressive: bool, tmp_path: Path) -> None:
    import numpy as np

    source = tmp_path / "source"
    source.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    Image.fromarray(pixels).save(source / "0.jpg", progressive=progressive)
    data = (source / "0.jpg").read_bytes()
    for number in range(1, 10):
        (source / f"{number}.jpg").write_bytes(data[: len(data) * number // 10])
    for number in range(10):
        (source / f"{number}.txt").write_text("noise")
    report = run(source, tmp_path / "out")
    assert report.rows["captions"] == 1
    assert sum(report.dropped.values()) == 9


def test_svg_shows_no_files_of_the_machine(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "blue").save(secret)
    source = tmp_path / "source"
    source.mkdir()
    hrefs = {
        "plain": f'<image href="{secret}" width="40" height="20"/>',
        "xlink": f"<image xmlns:x='http://www.w3.org/1999/xlink' x:href = '{secret}' width='40' "
        "height='20'/>",
        "entity": "&e;",
    }
    for name, more in hrefs.items():
        text = tiny_sources.SVG.format(colour="red", more=more)
        if name == "entity":
            image = f"<image href=&#34;{secret}&#34; width=&#34;40&#34; height=&#34;20&#34;/>"
            text = text.replace("?>", f"?><!DOCTYPE svg [<!ENTITY e '{image}'>]>", 1)
        (source / f"{name}.svg").write_text(text)
    run(source, tmp_path / "out")
    rows = rows_of(tmp_path / "out/captions")
    assert len({row["image_url"] for row in rows}) == 3
    for row in rows:
        path = tmp_path / "shown.png"
        path.write_bytes(row["image"]["bytes"])
        with Image.open(path) as image:
            assert image.width == 512
            assert image.height == pytest.approx(256, abs=3)  # of whole pixels at 96 dpi
            assert image.convert("RGB").getpixel((256, 128)) == (255, 0, 0)
