"""The command `edge-glass search`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_glass.fusion.search.query import search_folder


@pytest.mark.slow  # starts processes that import torch
def test_the_command(image_folder: Path, dual_folder: Path, tmp_path: Path) -> None:
    (image_folder / "page.png").write_text("<html>")
    code = "from edge_glass.fusion.app.cli import main; main()"
    arguments = [
        "search",
        "a red car",
        str(image_folder),
        "--model",
        str(dual_folder),
        "--top",
        "2",
    ]
    arguments += ["--json", "--sheet", str(tmp_path / "sheet.png")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["rank"] for row in rows] == [1, 2]
    assert all(Path(row["image"]).is_file() for row in rows)
    assert done.stderr.splitlines() == [
        "edge-glass: images left out: 1",
        "  page.png: not an image that is read here: the bytes begin with b'<html>'",
    ]
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.slow  # starts two processes
def test_two_searches_at_once_both_answer(image_folder: Path, dual_folder: Path) -> None:
    code = (  # with 0 seconds between them: a save after each image
        "import edge_glass.fusion.search.update as update\n"
        "from edge_glass.fusion.app.cli import main\n"
        "run = update.IndexUpdater.__init__\n"
        "update.IndexUpdater.__init__ = lambda *args: run(*args, save_seconds=0.0)\n"
        "main()"
    )
    arguments = ["search", "a red car", str(image_folder), "--model", str(dual_folder)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        for _ in range(2)
    ]
    done = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert len({shown for shown, _ in done}) == 1
    assert len(done[0][0].splitlines()) == 5
    assert [complaints for _, complaints in done] == ["", ""]
    again = search_folder("a red car", image_folder, model_folder=dual_folder)
    assert again.num_encoded == 0
