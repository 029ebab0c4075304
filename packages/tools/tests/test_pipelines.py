"""Pipelines of torchvision that may be for masks or plots, and crops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_glass.tools.notebook import parse_notebook
from edge_glass.tools.patch.syntax.rewrite import Outcome, rewrite_notebook
from edge_glass.tools.patch.transforms.transforms_patch import TransformsPatch

NORMALIZE = "T.ToTensor(), T.Normalize(MEAN, STD)"


def _outcome(steps: str, fit: str = "pad", end: str = "") -> Outcome:
    source = f"from torchvision import transforms as T\na = T.Compose([{steps}])\n{end}"
    cells = [{"cell_type": "code", "source": source}]
    text = json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 4})
    notebook = parse_notebook(text, Path("/nowhere/a.ipynb"))
    return rewrite_notebook(notebook, [TransformsPatch(fit=fit)])


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ("T.Resize(64), T.ToTensor()", "it does not normalise"),
        (f"T.Resize(64, T.InterpolationMode.NEAREST), {NORMALIZE}", "NEAREST may be for masks"),
        (f"T.Resize(64, interpolation=0), {NORMALIZE}", "interpolation 0 may"),
        (f"T.Resize(64, interpolation=mode), {NORMALIZE}", "interpolation mode may"),
    ],
)
def test_pipelines_of_masks_and_plots_are_left(steps: str, reason: str) -> None:
    outcome = _outcome(steps)
    assert outcome.sources == {}
    (note,) = outcome.notes
    assert note.kind == "left"
    assert reason in note.message


def test_a_crop_that_becomes_padding_is_reported() -> None:
    resize = "T.Resize(256, interpolation=T.InterpolationMode.BICUBIC)"
    steps = f"{resize}, T.CenterCrop(224), {NORMALIZE}"
    padded = _outcome(steps)
    assert 'image_size=224, fit="pad"' in padded.sources[0]
    assert any("CenterCrop dropped" in note.message for note in padded.notes)
    cropped = _outcome(steps, "crop")
    assert 'image_size=224, fit="crop"' in cropped.sources[0]
    assert not any("CenterCrop" in note.message for note in cropped.notes if note.kind == "warning")


def test_a_pipeline_whose_steps_are_read_is_left() -> None:
    outcome = _outcome(f"T.Resize(64), {NORMALIZE}", end="resize = a.transforms[0]")
    assert outcome.sources == {}
    assert "reads its steps" in outcome.notes[0].message
