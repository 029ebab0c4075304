"""Draws wrong answers, two of each type: python docs/failure_sheet.py, after `dvc repro`."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from edge_glass.training.evaluation.figures.sheets import Answered, answers_sheet, spread
from edge_glass.training.evaluation.figures.stored_images import stored_images

ROOT = Path(__file__).parents[1]
SPLIT = "val_scene"
EACH = 2  # of a type, at even distances: none is picked for its looks


def main() -> None:
    path = ROOT / "predictions" / "vlm_qa" / f"{SPLIT}.jsonl"
    wrong: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if not row["right"]:
            wrong[row["type"]].append(row)
    chosen = [row for name in sorted(wrong) for row in spread(wrong[name], EACH)]
    stored = ROOT / "artifacts" / "prepared" / "questions" / f"{SPLIT}.images.parquet"
    images = stored_images(stored, [row["image"] for row in chosen])
    answers_sheet(
        ROOT / "docs" / "images" / "failures.png",
        [
            Answered(
                image=images[row["image"]],
                question=row["question"],
                answer=row["model"],
                truth=row["truth"],
                right=False,
            )
            for row in chosen
        ],
        f"Wrong answers to questions of {SPLIT}, two of each type",
        columns=6,
    )


if __name__ == "__main__":
    main()
