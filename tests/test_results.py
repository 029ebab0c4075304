"""The tables of results in the pages are those of the last run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("results", ROOT / "docs/results.py")
assert SPEC is not None
assert SPEC.loader is not None
RESULTS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(RESULTS)


@pytest.mark.parametrize("name", RESULTS.PAGES)
def test_a_page_shows_the_metrics(name: str) -> None:
    shown = (ROOT / name).read_text().partition(RESULTS.START)[2].partition(RESULTS.END)[0]
    assert shown == RESULTS.PAGES[name](), "run python docs/results.py --write"


def test_the_range_holds_the_committed_run() -> None:
    assert len(RESULTS.seeds()) >= 3
    metrics = RESULTS.read("metrics/evaluate_vlm_qa.json")
    text = RESULTS.spread(lambda each: each["val_scene"]["accuracy"])
    median, low, high = map(float, re.findall(r"\d+\.\d", text))
    assert low <= median <= high
    assert low <= float(RESULTS.percent(metrics["val_scene"]["accuracy"])) <= high
