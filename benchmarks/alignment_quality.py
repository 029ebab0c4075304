"""What each choice of the sample's alignment gives, over three seeds.

Run:    python benchmarks/alignment_quality.py [CHANGE ...]     (after `dvc repro encode`)
Needs:  edge-glass-training

Each change undoes one choice of params.yaml and trains anew, with the stage's own command, in a
temporary folder on the project's features. The figures of each run are kept in a JSON file, so that
a second start runs only what is missing. A line is one change and split: R@1 image to text / text
to image in % as median over the seeds with the smallest and the largest, then R@10 and the share of
R@1 that an eighth and a thirty-second of the dims keep, and the scores among all captions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from changed_params import changed

CHANGES: dict[str, dict[str, Any]] = {
    "as in params.yaml": {},
    "no recycled classes": {"align.sample.recycle": 0},
    "recycle 64": {"align.sample.recycle": 64},
    "recycle 64, pooling mean": {"align.sample.recycle": 64, "pooling": "mean"},
    "pooling attention": {"pooling": "attention"},
    "pooling mean": {"pooling": "mean"},
    "attention, no recycled classes": {"pooling": "attention", "align.sample.recycle": 0},
    "pooling perceiver": {"pooling": "perceiver"},
    "no dropout of image features": {"align.sample.head.image_dropout": 0.0},
    "image dropout 0.5": {"align.sample.head.image_dropout": 0.5},
    "no dropout of text features": {"align.sample.head.text_dropout": 0.0},
    "linear heads": {"align.sample.head.projection": "linear"},
    "equal weights": {"align.sample.matryoshka_weights": [1.0] * 6},
    "pooling at 3e-4": {"align.sample.pooling_learning_rate": 3.0e-4},
    "batches of 512": {"align.sample.batch_size": 512},
    "no Matryoshka loss": {
        "align.sample.matryoshka_weight": 0.0,
        "align.sample.contrastive_weight": 1.0,
    },
}
# What no figure here depends on is left out of the evaluation.
QUICK = {
    "evaluate_align.sample.zero_shot": None,
    "evaluate_align.sample.bootstrap_samples": 2,
    "evaluate_align.sample.tsne_points": 8,
}
Figure = Callable[[dict[str, Any]], float]


def run(params: dict[str, Any], keep: Path | None) -> dict[str, Any]:
    """Train and score in a temporary folder; return the validation metrics and the seconds."""
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
        if keep is not None:
            shutil.copytree(folder / "models/align", keep)
        metrics = json.loads((folder / "metrics/evaluate_align.json").read_text())
    validation = {name: each for name, each in metrics.items() if name.startswith("val")}
    return {"seconds": seconds, "splits": validation}


def middle(results: list[dict[str, Any]], figure: Figure, *, spread: bool = False) -> str:
    """Return the median over the seeds, with the smallest and the largest if asked."""
    values = [100 * figure(each) for each in results]
    text = f"{statistics.median(values):.1f}"
    return f"{text} ({min(values):.1f} to {max(values):.1f})" if spread else text


def lines(results: list[dict[str, Any]], split: str, dims: list[int]) -> list[str]:
    """Return the lines of a split."""
    found = [each["splits"][split] for each in results]
    full = str(dims[0])
    parts = {way: [] for way in ("i2t", "t2i")}
    for way, texts in parts.items():
        texts.append(middle(found, lambda each, w=way: each[full][w]["R@1"], spread=True))
        texts.append("R@10 " + middle(found, lambda each, w=way: each[full][w]["R@10"]))
        for share in (8, 32):
            dim = str(dims[0] // share)
            kept = middle(found, lambda each, w=way, d=dim: each["kept"][d][w])
            texts.append(f"1/{share} keeps {kept} %")
    text = [f"  {split:12} {' | '.join(', '.join(texts) for texts in parts.values())}"]
    if "among_all" in found[0]:
        for name in ("R@1", "R@10"):
            ways = [
                way
                for way in found[0]["among_all"][full]
                if name in found[0]["among_all"][full][way]
            ]
            figures = (
                f"{way} "
                + middle(found, lambda e, w=way, n=name: e["among_all"][full][w][n], spread=True)
                for way in ways
            )
            text.append(f"  {'':12} among all, {name}: {', '.join(figures)}")
    return text


def main() -> None:
    """Print the lines of each change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("changes", nargs="*", help=f"default: all of {', '.join(CHANGES)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, help="of torch (default: as in params.yaml)")
    parser.add_argument("--native", action="store_true", help="the fastest kernels")
    parser.add_argument("--results", type=Path, default=Path("logs/alignment_quality.json"))
    parser.add_argument("--models", type=Path, help="a folder that keeps the trained models")
    arguments = parser.parse_args()
    if not Path("artifacts/features/index.json").is_file():
        raise SystemExit("artifacts/features is not there: run `dvc repro encode` first")
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["num_threads"] = arguments.threads or params["num_threads"]
    if arguments.native:
        params["reproducibility"] = "native"
    dims = params["align"]["sample"]["matryoshka_dims"]
    kept = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
    for name in arguments.changes or CHANGES:
        results = []
        for seed in arguments.seeds:
            key = f"{name}, seed {seed}"
            if key not in kept:
                folder = arguments.models and arguments.models / key.replace(" ", "_")
                kept[key] = run(changed(params, CHANGES[name] | QUICK, seed), folder)
                arguments.results.parent.mkdir(parents=True, exist_ok=True)
                arguments.results.write_text(json.dumps(kept, indent=1))
            results.append(kept[key])
        seconds = statistics.median(each["seconds"] for each in results)
        print(f"{name}: {seconds:.0f} s of training, {len(results)} seeds")
        for split in results[0]["splits"]:
            print("\n".join(lines(results, split, dims)), flush=True)


if __name__ == "__main__":
    main()
