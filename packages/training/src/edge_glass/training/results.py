"""The results of the evaluations as a page of plain text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_glass.training.runtime.nothing_to_do import read_note

PLOTS = (
    ("prepared data", "plots/prepare"),
    ("training curves", "plots/align"),
    ("retrieval", "plots/evaluate_align"),
    ("training curves", "plots/vlm_qa"),
    ("answers", "plots/evaluate_vlm_qa"),
)
TRY_NEXT = (
    ('edge-glass search "a red apple" FOLDER', "finds images in a folder of yours"),
    ('edge-glass ask IMAGE "How many dogs are there?"', "answers a question about an image"),
    ("dvc exp run -S fusion=gated", "trains with a different fusion; `dvc exp show` compares"),
)


def results_page(project: Path) -> str:
    """Returns the results of a project, where its plots are, and commands to try."""
    lines = ["Retrieval, R@1 in %, image to text / text to image:"]
    lines += _indented(project, _retrieval_rows(project), "evaluate_align")
    lines += ["", "Answers, exact match in % (blind: without the image):"]
    lines += _indented(project, _answer_rows(project), "evaluate_vlm_qa")
    plots = [
        (folder, what)
        for what, folder in PLOTS
        if (project / folder).is_dir() and read_note(project / folder) is None
    ]
    if plots:
        lines += ["", "Plots (`dvc plots show` draws the curves as one page):", *_table(plots)]
    return "\n".join([*lines, "", "Try next:", *_table(TRY_NEXT)])


def _retrieval_rows(project: Path) -> list[tuple[str, ...]]:
    metrics = _read(project, "evaluate_align")
    if not metrics:
        return []
    dims = sorted((int(key) for key in next(iter(metrics.values())) if key.isdigit()), reverse=True)
    shown = list(dict.fromkeys((dims[0], dims[-1])))
    rows: list[tuple[str, ...]] = [("split", *(f"{dim} dims" for dim in shown), "chance")]
    for split, result in metrics.items():
        ways = [result[str(dim)] for dim in shown] + [result["chance"]]
        cells = (f"{_percent(way['i2t']['R@1'])} / {_percent(way['t2i']['R@1'])}" for way in ways)
        rows.append((split, *cells))
    return rows


def _answer_rows(project: Path) -> list[tuple[str, ...]]:
    metrics = _read(project, "evaluate_vlm_qa")
    names = ("accuracy", "blind", "shuffled", "majority")
    rows = [
        (split, *(_percent(result[name]) for name in names)) for split, result in metrics.items()
    ]
    return [("split", "model", *names[1:]), *rows] if rows else []


def _read(project: Path, stage: str) -> dict[str, Any]:
    path = project / "metrics" / f"{stage}.json"
    if not path.is_file():
        return {}
    try:
        metrics: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}): run `dvc repro {stage}`") from None
    return metrics


def _indented(project: Path, rows: list[tuple[str, ...]], stage: str) -> list[str]:
    if rows:
        return _table(rows)
    reason = read_note(project / "plots" / stage)
    return [f"  {reason}" if reason else f"  not measured yet: run `dvc repro {stage}`"]


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Aligns cells by column, with two spaces between columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
