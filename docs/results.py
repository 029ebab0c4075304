"""Prints the README's tables of results from metrics/*.json: python docs/results.py [--write]."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
START, END = "<!-- results: python docs/results.py --write -->\n", "<!-- end of results -->\n"
SPLITS = {
    "vendor": "a hand never seen",
    "concept": "things never seen",
    "scene": "new scenes, hands of training",
}


def read(name: str) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((ROOT / "metrics" / name).read_text())
    return metrics


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def retrieval_table() -> list[str]:
    metrics = read("evaluate_align.json")
    dims = [key for key in metrics["val_vendor"] if key.isdigit()]
    lines = [
        "| R@1 in %, image to text / text to image | " + " | ".join(dims) + " dims | chance |",
        "|---|" + "--:|" * (len(dims) + 1),
    ]
    for split in ("val_vendor", "test_vendor", "val_concept", "test_concept"):
        rows = [*(metrics[split][dim] for dim in dims), metrics[split]["chance"]]
        cells = [f"{percent(row['i2t']['R@1'])} / {percent(row['t2i']['R@1'])}" for row in rows]
        lines.append(
            f"| `{split}`: {SPLITS[split.partition('_')[2]]} | " + " | ".join(cells) + " |"
        )
    return lines


def answers_table() -> list[str]:
    metrics = read("evaluate_vlm_qa.json")
    kinds = list(metrics["val_scene"]["by_type"])
    lines = [
        "| exact match in % | all | blind | shuffled | majority | " + " | ".join(kinds) + " |",
        "|---|" + "--:|" * (4 + len(kinds)),
    ]
    for split in ("val_scene", "test_scene", "val_vendor", "test_vendor"):
        row = metrics[split]
        figures = [row[name] for name in ("accuracy", "blind", "shuffled", "majority")]
        cells = [percent(each) for each in (*figures, *(row["by_type"][kind] for kind in kinds))]
        lines.append(
            f"| `{split}`: {SPLITS[split.partition('_')[2]]} | " + " | ".join(cells) + " |"
        )
    return lines


def rendered() -> str:
    return "\n".join(
        [
            "**Retrieval** (`dvc repro evaluate_align`, [all](metrics/evaluate_align.json)):",
            "",
            *retrieval_table(),
            "",
            "**Answers** (`dvc repro evaluate_vlm_qa`, [all](metrics/evaluate_vlm_qa.json)):",
            "",
            *answers_table(),
            "",
        ]
    )


def main() -> None:
    if "--write" not in sys.argv:
        print(rendered())
        return
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(START)
    _, _, after = rest.partition(END)
    readme.write_text(before + START + rendered() + END + after)


if __name__ == "__main__":
    main()
