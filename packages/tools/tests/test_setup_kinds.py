"""What the patch `setup` keeps: the order of search, and remarks; and cells that are too deep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_glass.tools.code.cells import syntax_problem
from edge_glass.tools.notebook import parse_notebook
from edge_glass.tools.patch.setup import SetupPatch
from edge_glass.tools.patch.syntax.rewrite import rewrite_notebook


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of notebooks; `../a` and `../b` hold modules."""
    for name in ("a/util.py", "b/util.py", "b/other.py", "notebooks/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "notebooks"


def patched(folder: Path, *cells: str) -> list[str]:
    def book(sources: list[str]) -> str:
        entries = [{"cell_type": "code", "source": each.splitlines(True)} for each in sources]
        return json.dumps({"cells": entries, "nbformat": 4, "nbformat_minor": 4}, indent=1)

    path = folder / "a.ipynb"
    new = list(cells)
    for _ in range(2):  # the second run changes nothing
        outcome = rewrite_notebook(parse_notebook(book(new), path), [SetupPatch()])
        again = [outcome.sources.get(number, cell) for number, cell in enumerate(new)]
        assert new == list(cells) or again == new
        new = again
    return new


INSERT = "sys.path.insert(0, '../b')"


def test_a_folder_stays_behind_the_imports_that_it_would_change(folder: Path) -> None:
    cells = ["import sys\nimport util", f"{INSERT}\nimport other"]
    assert patched(folder, *cells) == cells
    cells[0] = "import sys\nimport json"
    assert patched(folder, *cells) == [f"import sys\n{INSERT}\nimport json", "import other"]


def test_what_is_put_in_front_again_stays(folder: Path) -> None:
    cells = ["import sys\nsys.path.insert(0, '../a')", INSERT, "sys.path.insert(0, '../a')"]
    new = patched(folder, *cells)
    assert "sys.path.insert(0, '../a')" in new[2]
    same = ["import sys\nsys.path.insert(0, '../a')", "sys.path.insert(0, '../a')\nx = 1"]
    assert patched(folder, *same)[1] == "x = 1"


def test_remarks_of_removed_imports_are_kept(folder: Path) -> None:
    cell = "import os  # for the table\nimport os  # noqa: F811\nx = 1"
    new = patched(folder, "import os", cell)
    assert new[1] == "# for the table\nx = 1"


@pytest.mark.parametrize("text", ["(" * 5000 + ")" * 5000, "print " + "-" * 50_000 + "1"])
def test_a_deep_cell_is_a_problem_and_no_crash(text: str) -> None:
    assert "nested too deeply" in (syntax_problem(text) or "")
