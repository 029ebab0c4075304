"""edge-requirements.txt has all that `--runtime onnx` imports, and agrees with constraints.txt."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[4]
LINES = (ROOT / "packages/fusion/edge-requirements.txt").read_text().splitlines()
PINS = dict(line.split("==") for line in LINES if not line.startswith("#"))
RUN = "from edge_glass.fusion.app.cli import main; main()"


def test_pins_are_those_of_the_constraints() -> None:
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    smaller = {name for name, version in PINS.items() if f"{name}=={version}" not in pinned}
    assert smaller == {"onnxruntime"}  # its newer wheels are twice as large


@pytest.mark.slow
def test_nothing_else_is_needed(exported_align: Path, exported_vlm: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"  # holds the listed distributions and no other
    site.mkdir()
    for name in PINS:
        found = distribution(name)
        tops = {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(str(found.locate_file(top)))
    assert not {"torch", "rich", "huggingface_hub"} & {each.name for each in site.iterdir()}
    sources = [str(ROOT / "packages" / name / "src") for name in ("encoders", "fusion")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sources, str(site)])}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-S", "-c", RUN, *arguments, "--runtime", "onnx"],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=tmp_path,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    images = tmp_path / "images"
    images.mkdir()
    for colour in ("red", "green"):
        Image.new("RGB", (40, 30), colour).save(images / f"{colour}.png")
    search = ("search", "a red car", str(images), "--model", str(exported_align))
    assert len(run(*search).splitlines()) == 2
    assert len(run(*search, "--dim", "8", "--precision", "int8").splitlines()) == 2
    query = str(images / "red.png")
    asked = ("ask", query, "what colour is it?", "--model", str(exported_vlm))
    assert run(*asked).startswith("what colour is it? ")
