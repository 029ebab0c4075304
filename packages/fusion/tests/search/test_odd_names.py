"""Folders as they are: names of any bytes, copies, recycle bins, our own sheets, many faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_glass.encoders import image_plugins
from edge_glass.fusion.search.query import draw_search, search_folder

HEIC = b"\0\0\0\x18ftypheic" + bytes(64)
LONG = "a dog and a cat " * 40  # longer than a file's name may be


@pytest.mark.slow  # starts two processes
def test_any_name_is_searched_and_printed(image_folder: Path, dual_folder: Path) -> None:
    data = (image_folder / "red.png").read_bytes()
    for path in image_folder.rglob("*.png"):
        path.unlink()
    names = [b"caf\xe9.png", b"two\nlines.png", b"50% 'of' \"it\".png"]
    for number, name in enumerate(names):
        Path(os.fsdecode(os.fsencode(image_folder) + b"/" + name)).write_bytes(data + bytes(number))
    for bin_name in ("@eaDir", "#recycle", "$RECYCLE.BIN"):
        (image_folder / bin_name).mkdir()
        (image_folder / bin_name / "old.png").write_bytes(data)
    program = "from edge_glass.fusion.app.cli import main; main()"
    command = ["search", LONG, str(image_folder), "--model", str(dual_folder)]
    sheet = image_folder / "found.png"
    for options in (["--sheet", str(sheet)], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *command, *options],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},  # less can't be shown
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.decode().splitlines()
        assert len(lines) == len(names)
    found = {os.fsencode(json.loads(line)["image"]) for line in lines}
    assert found == {os.fsencode(image_folder) + b"/" + name for name in names}
    assert b"found.png: a contact sheet of edge-glass" in done.stderr


def test_copies_are_found_once(image_folder: Path, dual_folder: Path) -> None:
    data = (image_folder / "red.png").read_bytes()
    for name in ("a copy.png", "zz.png"):
        (image_folder / name).write_bytes(data)
    result = search_folder("a red car", image_folder, model_folder=dual_folder, top=100)
    copies = {each.path.name: each.copies for each in result.found}
    assert copies["a copy.png"] == 2  # the first by name
    assert "red.png" not in copies
    assert "zz.png" not in copies
    assert sum(copies.values()) == 2
    assert (len(result.found), result.num_images) == (8, 10)
    assert [each.rank for each in result.found] == list(range(1, 9))


def test_all_that_is_left_out_is_in_a_file(image_folder: Path, dual_folder: Path) -> None:
    for number in range(15):
        (image_folder / f"{number}.png").write_text("no image")
    result = search_folder("a dog", image_folder, model_folder=dual_folder)
    assert result.report is not None
    rows = [json.loads(line) for line in result.report.read_text().splitlines()]
    assert {row["file"] for row in rows} == {f"{number}.png" for number in range(15)}
    assert all("not an image" in row["reason"] for row in rows)


def test_a_plugin_that_is_installed_later_is_noticed(
    image_folder: Path, dual_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image_folder / "a.heic").write_bytes(HEIC)
    monkeypatch.setattr(image_plugins, "has_plugin", lambda _kind: False)
    result = search_folder("a dog", image_folder, model_folder=dual_folder)
    assert "pip install pillow-heif" in result.left_out["a.heic"]
    monkeypatch.setattr(image_plugins, "has_plugin", lambda _kind: True)
    result = search_folder("a dog", image_folder, model_folder=dual_folder)
    assert "pip install" not in result.left_out["a.heic"]  # it was tried again


def test_an_image_that_goes_before_the_sheet_is_drawn(
    image_folder: Path, dual_folder: Path, tmp_path: Path
) -> None:
    result = search_folder("a red car", image_folder, model_folder=dual_folder)
    result.found[0].path.unlink()
    draw_search(tmp_path / "sheet.png", "a red car", image_folder, result)
    assert (tmp_path / "sheet.png").is_file()
