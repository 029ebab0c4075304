"""The README's figures are those of the last run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_readme_shows_the_metrics() -> None:
    spec = importlib.util.spec_from_file_location("results", ROOT / "docs/results.py")
    assert spec is not None
    assert spec.loader is not None
    results = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(results)
    shown = (ROOT / "README.md").read_text().partition(results.START)[2].partition(results.END)[0]
    assert shown == results.rendered(), "run python docs/results.py --write"
