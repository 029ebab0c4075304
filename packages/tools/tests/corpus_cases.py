"""The corpus: real-life notebooks in `corpus/`, and what each patch is expected to do to them.

`corpus/expected/NAME.json` holds, by patch, the new source of each cell that changes, and the
summary. After a deliberate change of a patch, `python corpus_cases.py` writes them again; the diff
of these files is then what there is to review.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_glass.tools.notebook import read_notebook
from edge_glass.tools.patch.collate.collate_patch import CollatePatch
from edge_glass.tools.patch.devices.devices_patch import DevicesPatch
from edge_glass.tools.patch.devices.memory_plan import parse_devices
from edge_glass.tools.patch.keywords import KeywordsPatch
from edge_glass.tools.patch.paths.paths_patch import PathsPatch
from edge_glass.tools.patch.rewrite import Patch, rewrite_notebook
from edge_glass.tools.patch.setup import SetupPatch
from edge_glass.tools.patch.transforms.transforms_patch import TransformsPatch

CORPUS = Path(__file__).parent / "corpus"
EXPECTED = CORPUS / "expected"
NOTEBOOKS = sorted(CORPUS.glob("*.ipynb"))


def patches(project: Path) -> dict[str, Patch]:
    """Return each built-in patch with options; `devices` twice, because the plan decides a lot."""
    return {
        "devices": DevicesPatch(devices=parse_devices("cuda:0", "24GiB")),
        "devices_two_small": DevicesPatch(devices=parse_devices("cuda:0,cuda:1", "8GiB")),
        "collate": CollatePatch(),
        "collate_library": CollatePatch(library=True),
        "keywords": KeywordsPatch(),
        "setup": SetupPatch(),
        "transforms": TransformsPatch(),
        "paths": PathsPatch(
            root=project, mapping=(("/content/drive/MyDrive/pixmo", "data/pixmo"),)
        ),
    }


def make_project(folder: Path) -> Path:
    """Make the project that the corpus' paths speak of; notebooks lie in its `notebooks`."""
    project = folder / "project"
    for name in ("notebooks", "src", "data"):
        (project / name).mkdir(parents=True)
    (project / "data/train.parquet").touch()
    return project


def result(notebook: Path, patch: Patch) -> dict[str, Any]:
    """Return what `patch` makes of a notebook, as the expected files hold it."""
    outcome = rewrite_notebook(read_notebook(notebook), [patch])
    return {
        "cells": {str(index): source for index, source in sorted(outcome.sources.items())},
        "notes": [
            f"{note.cell + 1} {note.kind}: {note.message}"
            for note in outcome.notes
            if note.kind not in ("changed", "skipped")
        ],
    }


def _write_expected() -> None:
    import tempfile

    EXPECTED.mkdir(exist_ok=True)
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            project = make_project(Path(folder))
            copy = project / "notebooks" / path.name
            copy.write_bytes(path.read_bytes())
            expected = {name: result(copy, patch) for name, patch in patches(project).items()}
        expected = {name: each for name, each in expected.items() if each["cells"] or each["notes"]}
        text = json.dumps(expected, indent=1, ensure_ascii=False) + "\n"
        (EXPECTED / f"{path.stem}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write_expected()
