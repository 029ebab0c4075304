"""What each choice of the sample's alignment gives, over three seeds.

Run:    python benchmarks/alignment_quality.py [CHANGE ...]     (after `dvc repro encode`)
Needs:  edge-glass-training

Each change undoes one choice of params.yaml and trains anew, with the stage's own command, in a
temporary folder on the project's features. A line is one change: R@1 on the validation splits,
image to text / text to image, as median over the seeds with the smallest and the largest, and the
share of it that an eighth and a thirty-second of the dims keep.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

CHANGES: dict[str, dict[str, Any]] = {
    "as in params.yaml": {},
    "pooling perceiver": {"pooling": "perceiver"},
    "no dropout of image features": {"align.sample.head.image_dropout": 0.0},
    "no dropout of text features": {"align.sample.head.text_dropout": 0.0},
    "linear heads": {"align.sample.head.projection": "linear"},
    "equal weights": {"align.sample.matryoshka_weights": [1.0] * 6},
    "pooling at 3e-4": {"align.sample.pooling_learning_rate": 3.0e-4},
    "no Matryoshka loss": {
        "align.sample.matryoshka_weight": 0.0,
        "align.sample.contrastive_weight": 1.0,
    },
}
SPLITS = ("val_vendor", "val_concept")


def changed(params: dict[str, Any], change: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a copy of the parameters with some of them replaced."""
    result = copy.deepcopy(params)
    result["seed"] = seed
    for name, value in change.items():
        *tables, last = name.split(".")
        table = result
        for each in tables:
            table = table[each]
        table[last] = value
    return result


def run(params: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Train and score in a temporary folder; return (metrics, seconds of training)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "artifacts").mkdir()
        for part in ("prepared", "features"):
            (folder / "artifacts" / part).symlink_to(Path("artifacts", part).resolve())
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        command = str(Path(sys.executable).parent / "edge-glass")
        start = time.perf_counter()
        subprocess.run([command, "align"], cwd=folder, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        subprocess.run([command, "evaluate-align"], cwd=folder, check=True, capture_output=True)
        return json.loads((folder / "metrics/evaluate_align.json").read_text()), seconds


def summary(results: list[dict[str, Any]], split: str, dims: list[int]) -> str:
    """Return a split's part of a line."""
    parts = []
    for way in ("i2t", "t2i"):
        full = [100 * each[split][str(dims[0])][way]["R@1"] for each in results]
        text = f"{statistics.median(full):.1f} ({min(full):.1f} to {max(full):.1f})"
        for share in (8, 32):
            kept = [
                100 * 100 * each[split][str(dims[0] // share)][way]["R@1"] / value
                for each, value in zip(results, full, strict=True)
            ]
            text += f" 1/{share}: {statistics.median(kept):.0f} %"
        parts.append(text)
    return " | ".join(parts)


def main() -> None:
    """Print a line a change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("changes", nargs="*", help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, help="of torch (default: as in params.yaml)")
    arguments = parser.parse_args()
    if not Path("artifacts/features/index.json").is_file():
        raise SystemExit("artifacts/features is not there: run `dvc repro encode` first")
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["num_threads"] = arguments.threads or params["num_threads"]
    dims = params["align"]["sample"]["matryoshka_dims"]
    for name in arguments.changes or CHANGES:
        found = [run(changed(params, CHANGES[name], seed)) for seed in arguments.seeds]
        seconds = statistics.median(each for _, each in found)
        print(f"{name}: {seconds:.0f} s of training", flush=True)
        for split in SPLITS:
            print(f"  {split:12} {summary([each for each, _ in found], split, dims)}", flush=True)


if __name__ == "__main__":
    main()
