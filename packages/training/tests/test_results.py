"""`edge-glass results`: the measured figures as a page of text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_glass.training.results import results_page


def test_nothing_measured_names_the_commands(tmp_path: Path) -> None:
    page = results_page(tmp_path)
    assert "not measured yet: run `dvc repro evaluate_align`" in page
    assert "not measured yet: run `dvc repro evaluate_vlm_qa`" in page
    assert "Plots" not in page
    assert page.count("edge-glass ") == 2


def test_figures_are_those_of_the_metrics(tmp_path: Path) -> None:
    def ways(first: float, second: float) -> dict[str, dict[str, float]]:
        return {"i2t": {"R@1": first}, "t2i": {"R@1": second}}

    (tmp_path / "metrics").mkdir()
    (tmp_path / "plots/evaluate_align").mkdir(parents=True)
    align = {"512": ways(0.5194, 0.72), "64": ways(0.1, 0.2), "16": ways(0.4384, 0.61),
             "untruncated": ways(0.5194, 0.72), "chance": ways(0.001, 0.003)}  # fmt: skip
    (tmp_path / "metrics/evaluate_align.json").write_text(json.dumps({"val_vendor": align}))
    answers = {"accuracy": 0.866, "blind": 0.211, "shuffled": 0.25, "majority": 0.265, "f1": 0.9}
    (tmp_path / "metrics/evaluate_vlm_qa.json").write_text(json.dumps({"val_scene": answers}))
    lines = results_page(tmp_path).splitlines()
    assert "  val_vendor  51.9 / 72.0  43.8 / 61.0  0.1 / 0.3" in lines
    assert "  val_scene  86.6   21.1   25.0      26.5" in lines
    assert "  plots/evaluate_align  retrieval" in lines
    (tmp_path / "metrics/evaluate_align.json").write_text("{")
    with pytest.raises(ValueError, match=r"evaluate_align\.json: not valid JSON"):
        results_page(tmp_path)
