"""Paths that the patch `paths` has to leave: written by the notebook, moved, or a part of prose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_glass.tools.notebook import parse_notebook
from edge_glass.tools.patch.paths.paths_patch import PathsPatch
from edge_glass.tools.patch.syntax.rewrite import Outcome, rewrite_notebook

READ = "sd = torch.load('runs/best.pt')"
NEW = "sd = torch.load('../runs/best.pt')"
# Each writes `runs/best.pt` beside the notebook; the project has a `runs/best.pt` at its top.
WRITERS = {
    "a call that saves": "torch.save(model, 'runs/best.pt')",
    "open for writing": "with open('./runs/best.pt', 'wb') as f:\n    f.write(data)",
    "a folder": "os.makedirs('runs', exist_ok=True)",
    "a folder in a variable": "RUNS = Path('runs')\nRUNS.mkdir(exist_ok=True)",
    "a joined path": "RUNS = Path('runs')\ntorch.save(model, RUNS / 'best.pt')",
    "an f-string": "torch.save(model, f'runs/{name}.pt')",
    "an output folder": "args = TrainingArguments(output_dir='runs')",
    "save_pretrained": "model.save_pretrained('runs')",
    "wget -O": "!wget -q https://host/x -O runs/best.pt",
    "a redirection": "!echo x > runs/best.pt",
    "mkdir": "!mkdir -p runs",
    "an option of a script": "!python train.py --output-dir runs --epochs 1",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of notebooks in a project."""
    root = tmp_path / "project"
    for name in ("dvc.yaml", "runs/best.pt", "my data/val.csv", "notebooks/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root / "notebooks"


def patched(folder: Path, cells: list[str]) -> Outcome:
    entries = [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]
    text = json.dumps({"cells": entries, "nbformat": 4, "nbformat_minor": 4}, indent=1)
    return rewrite_notebook(parse_notebook(text, folder / "a.ipynb"), [PathsPatch()])


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_path_that_the_notebook_writes_is_left(folder: Path, writer: str) -> None:
    assert patched(folder, [writer, READ]).sources == {}
    assert patched(folder, [READ, writer]).sources == {}


@pytest.mark.parametrize(
    "reader", ["!ls runs", "df = open('runs/x.csv')", "!python a.py --in runs"]
)
def test_a_path_that_is_only_read_is_mended(folder: Path, reader: str) -> None:
    assert patched(folder, [reader, READ]).sources == {1: NEW}


@pytest.mark.parametrize("line", ["%cd ..", "%pushd ..", "!cd ..", "os.chdir('..')"])
def test_a_notebook_that_changes_its_folder_is_left(folder: Path, line: str) -> None:
    outcome = patched(folder, [READ, f"import os\n{line}", line])
    assert outcome.sources == {}
    assert [(note.cell, note.kind) for note in outcome.notes] == [(1, "warning")]


def test_only_a_string_that_is_wholly_a_path_is_changed(folder: Path) -> None:
    cells = [
        "print('/home/al/project/runs/best.pt is the old one')",
        "print(f'/home/al/project/runs/best.pt has {n} rows')",
        "doc = '/home/al/project/runs, /home/al/project/docs'",
        "url = 'https://host/project/runs/best.pt'",
        "df = read_csv('/home/al/project/my data/val.csv')",
    ]
    assert patched(folder, cells).sources == {4: "df = read_csv('../my data/val.csv')"}
