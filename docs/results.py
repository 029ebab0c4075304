"""Prints the tables of results of README.md and docs/experiments.md.

They come from metrics/*.json and, for the range over seeds, from docs/seeds (docs/seeds.py).

    python docs/results.py            prints them
    python docs/results.py --write    writes them between the pages' markers
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
START, END = "<!-- results: python docs/results.py --write -->\n", "<!-- end of results -->\n"
SPLITS = {
    "vendor": "a vendor never seen",
    "concept": "concepts never seen",
    "other": "clip art with people's titles",
    "scene": "new scenes, vendors of training",
    "wording": "wordings never seen",
    "object": "objects never seen",
}
RETRIEVAL_SPLITS = [
    f"{part}_{kind}" for kind in ("vendor", "concept", "other") for part in ("val", "test")
]
ANSWER_SPLITS = [
    f"{part}_{kind}"
    for kind in ("scene", "vendor", "wording", "object")
    for part in ("val", "test")
]


def read(name: str) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((ROOT / name).read_text())
    return metrics


def holds(metrics: dict[str, Any], stored: dict[str, Any]) -> bool:
    """Returns whether metrics have all figures of a stored run; they may have newer ones too."""
    return all(
        split in metrics and figures.items() <= metrics[split].items()
        for split, figures in stored.items()
    )


def seeds() -> list[dict[str, Any]]:
    """Returns the answers' metrics of every seed, those of the committed run among them."""
    stored = list(read("docs/seeds/vlm_qa.json").values())
    committed = read("metrics/evaluate_vlm_qa.json")
    if not any(holds(committed, each) for each in stored):
        sys.exit(
            "docs/seeds/vlm_qa.json does not hold the metrics of metrics/evaluate_vlm_qa.json: "
            "run python docs/seeds.py 1 2"
        )
    return stored


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the lines of a Markdown table: text in the first column, numbers in the others."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |".replace("| --- |", "|---|") for line in lines]


def described(split: str) -> str:
    return f"`{split}`: {SPLITS[split.partition('_')[2]]}"


def median(value: Callable[[dict[str, Any]], float]) -> str:
    """Returns the median of a figure over the seeds."""
    return percent(statistics.median(value(each) for each in seeds()))


def spread(value: Callable[[dict[str, Any]], float]) -> str:
    """Returns a figure's median, lowest and highest value over the seeds."""
    values = sorted(value(each) for each in seeds())
    return f"{median(value)} ({percent(values[0])} to {percent(values[-1])})"


def retrieval_table() -> list[str]:
    metrics = read("metrics/evaluate_align.json")
    dims = [key for key in metrics["val_vendor"] if key.isdigit()]
    rows = []
    for split in filter(metrics.__contains__, RETRIEVAL_SPLITS):
        found = [*(metrics[split][dim] for dim in dims), metrics[split]["chance"]]
        cells = [f"{percent(each['i2t']['R@1'])} / {percent(each['t2i']['R@1'])}" for each in found]
        rows.append([described(split), *cells])
    head = ["R@1 in %, image to text / text to image", *dims[:-1], f"{dims[-1]} dims", "chance"]
    return table(head, rows)


def among_all_table() -> list[str]:
    """Returns the table of retrieval among all captions and images, or nothing without figures."""
    metrics = read("metrics/evaluate_align.json")
    found = {
        split: metrics[split]["among_all"]
        for split in RETRIEVAL_SPLITS
        if "among_all" in metrics.get(split, {})
    }
    rows = []
    for split, each in found.items():
        full = each[max((dim for dim in each if dim.isdigit()), key=int)]
        cells = [
            f"{percent(full[way]['R@1'])} / {percent(full[way]['R@10'])}"
            for way in ("i2t", "i2t_corrected", "t2i")
        ]
        rows.append([described(split), str(each["captions"]), *cells, str(each["images"])])
    head = ["R@1 / R@10 in %", "captions", "image to text", "corrected", "text to image", "images"]
    return ["", "Among all captions and images:", "", *table(head, rows)] if rows else []


def answers_table() -> list[str]:
    metrics = read("metrics/evaluate_vlm_qa.json")
    kinds = list(metrics["val_scene"]["by_type"])
    rows = []
    for split in filter(metrics.__contains__, ANSWER_SPLITS):
        overall = spread(lambda each, split=split: each[split]["accuracy"])
        controls = [
            median(lambda each, split=split, name=name: each[split][name])
            for name in ("blind", "shuffled", "majority")
        ]
        # Nobody can answer "what is this?" about an object that training never showed.
        by_type = [
            median(lambda each, split=split, kind=kind: each[split]["by_type"][kind])
            if kind in metrics[split]["by_type"]
            else ""
            for kind in kinds
        ]
        rows.append([described(split), overall, *controls, *by_type])
    head = ["exact match in %", "all (range)", "blind", "shuffled", "majority", *kinds]
    return table(head, rows)


def seeds_table() -> list[str]:
    metrics = read("metrics/evaluate_vlm_qa.json")
    kinds = list(metrics["val_scene"]["by_type"])
    rows = [
        [
            f"`{split}`",
            spread(lambda each, split=split: each[split]["accuracy"]),
            spread(lambda each, split=split: each[split]["blind"]),
            *(
                spread(lambda each, split=split, kind=kind: each[split]["by_type"][kind])
                if kind in metrics[split]["by_type"]
                else ""
                for kind in kinds
            ),
        ]
        for split in filter(metrics.__contains__, ANSWER_SPLITS)
    ]
    return table(["exact match in %", "all", "blind", *kinds], rows)


def readme() -> str:
    return "\n".join(
        [
            "**Retrieval** (`dvc repro evaluate_align`, [all](metrics/evaluate_align.json)):",
            "",
            *retrieval_table(),
            *among_all_table(),
            "",
            f"**Answers**, medians of {len(seeds())} seeds of `vlm_qa`;",
            "[the committed model](metrics/evaluate_vlm_qa.json) has seed 0:",
            "",
            *answers_table(),
            "",
        ]
    )


def experiments() -> str:
    return "\n".join([*seeds_table(), ""])


PAGES = {"README.md": readme, "docs/experiments.md": experiments}


def main() -> None:
    for name, rendered in PAGES.items():
        if "--write" not in sys.argv:
            print(f"{name}\n\n{rendered()}")
            continue
        page = ROOT / name
        before, _, rest = page.read_text().partition(START)
        _, _, after = rest.partition(END)
        page.write_text(before + START + rendered() + END + after)


if __name__ == "__main__":
    main()
