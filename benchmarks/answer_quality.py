"""What each fusion, decoder and choice of the sample's `vlm_qa` gives, over several seeds.

Run:    python benchmarks/answer_quality.py [ROW ...] [--seeds 0 1 2] [--table]
Needs:  edge-glass-training, and what `dvc repro align` writes

Each run trains and scores with the stages' own commands, in a temporary folder on the project's
features and aligned model; only the seed of `vlm_qa` differs between runs of a row. Every result is
stored in `--results` as soon as it is there, so an interrupted table goes on where it was: a run
whose parameters and inputs are the same is not repeated. `--table` only prints what is stored.
A line is the median over the seeds with the smallest and the largest, and the types that are less
than ten points above the model without the image.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from changed_params import changed

from edge_glass.encoders.files import write_json

FUSIONS, DECODERS = ("concat", "cross_attention", "gated"), ("trm", "qwen2_5_tiny")
TOKENS = "vlm_qa.sample.visual_tokens"
ROWS: dict[str, dict[str, Any]] = {
    "as in params.yaml": {},
    **{
        f"{fusion}, {decoder}": {"fusion": fusion, "decoder": decoder}
        for fusion in FUSIONS
        for decoder in DECODERS
    },
    "no word matches": {f"{TOKENS}.aligned_dim": 0},
    "matches at 16 dims": {f"{TOKENS}.aligned_dim": 16},
    "matches at 256 dims": {f"{TOKENS}.aligned_dim": 256},
    "norm token": {f"{TOKENS}.norm": "token"},
    "no matches, norm token": {f"{TOKENS}.aligned_dim": 0, f"{TOKENS}.norm": "token"},
    "1,400 steps": {"vlm_qa.sample.steps": 1400},
    "no naming first": {"vlm_qa.sample.naming.steps": 0},
    "no readings": {"vlm_qa.sample.naming.weight": 0.0},
    "no word dropout": {"vlm_qa.sample.word_dropout": 0.0},
    "width 128": {
        "decoders.trm.width": 128,
        "decoders.trm.num_heads": 4,
        "decoders.trm.intermediate_dim": 384,
    },
    "n 2, T 1": {"decoders.trm.num_latent_updates": 2},
    "gate at 0": {"fusion": "gated", "fusions.gated.gate_init": 0.0},
}
INPUTS = ("artifacts/prepared", "artifacts/features", "models/align", "docker")
MARKS = ("artifacts/features/index.json", "models/align/model.safetensors")
MARGIN = 0.10  # a type that is less above the blind model did not learn


def key(params: dict[str, Any]) -> str:
    """Return what a result belongs to: the parameters that matter, and the inputs."""
    scale = params["scale"]
    names = ("seed", "num_threads", "reproducibility", "fusion", "decoder", "vision_encoder")
    matter = {name: params[name] for name in names} | {
        "vlm_qa": params["vlm_qa"][scale],
        "fusions": params["fusions"][params["fusion"]],
        "decoders": params["decoders"][params["decoder"]],
        "inputs": [hashlib.sha256(Path(mark).read_bytes()).hexdigest() for mark in MARKS],
    }
    return hashlib.sha256(json.dumps(matter, sort_keys=True).encode()).hexdigest()[:16]


def run(params: dict[str, Any]) -> dict[str, Any]:
    """Train and score in a temporary folder; return metrics and seconds of training."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in INPUTS:
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            (folder / part).symlink_to(Path(part).resolve())
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        (folder / "dvc.yaml").write_text(Path("dvc.yaml").read_text())
        command = str(Path(sys.executable).parent / "edge-glass")
        start = time.perf_counter()
        subprocess.run([command, "vlm-qa"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        subprocess.run(
            [command, "evaluate-vlm-qa"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        metrics = json.loads((folder / "metrics/evaluate_vlm_qa.json").read_text())
        return {"seconds": round(seconds), "metrics": metrics}


def line(name: str, results: list[dict[str, Any]]) -> list[str]:
    """Return a row of the table: medians with their range, and the types that did not learn."""
    splits = list(results[0]["metrics"])
    cells = []
    for split in splits:
        values = sorted(100 * each["metrics"][split]["accuracy"] for each in results)
        blind = statistics.median(100 * each["metrics"][split]["blind"] for each in results)
        cells.append(
            f"{statistics.median(values):.1f} ({values[0]:.1f} to {values[-1]:.1f}; {blind:.1f})"
        )
    weak = {
        kind
        for each in results
        for split, found in each["metrics"].items()
        if split.startswith("val")
        for kind, value in found["by_type"].items()
        if value < found["blind_by_type"][kind] + MARGIN
    }
    seconds = statistics.median(each["seconds"] for each in results)
    return [name, str(len(results)), *cells, ", ".join(sorted(weak)) or "none", f"{seconds:.0f} s"]


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"default: all of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, help="of torch (default: as in params.yaml)")
    parser.add_argument("--steps", type=int, help="of training (default: as in params.yaml)")
    parser.add_argument("--native", action="store_true", help="the faster arithmetic")
    parser.add_argument("--results", type=Path, default=Path("artifacts/answer_quality.json"))
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.rows) - set(ROWS)):
        raise SystemExit(f"unknown rows {unknown}, allowed are {list(ROWS)}")
    if missing := [mark for mark in MARKS if not Path(mark).is_file()]:
        raise SystemExit(f"{missing[0]} is not there: run `dvc repro align` first")
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["num_threads"] = arguments.threads or params["num_threads"]
    params["vlm_qa"]["sample"]["steps"] = arguments.steps or params["vlm_qa"]["sample"]["steps"]
    params["reproducibility"] = "native" if arguments.native else params["reproducibility"]
    stored: dict[str, Any] = {}
    if arguments.results.is_file():
        stored = json.loads(arguments.results.read_text())
    wanted = [(seed, row) for seed in arguments.seeds for row in arguments.rows or ROWS]
    for seed, row in () if arguments.table else wanted:  # all rows of a seed before the next seed
        chosen = changed(params, ROWS[row], seed)
        if key(chosen) not in stored:
            print(f"{row}, seed {seed}", file=sys.stderr, flush=True)
            stored[key(chosen)] = run(chosen)
            write_json(arguments.results, stored)
    shown = False
    for row in arguments.rows or ROWS:
        keys = [key(changed(params, ROWS[row], seed)) for seed in arguments.seeds]
        results = [stored[each] for each in keys if each in stored]
        if not results:
            continue
        if not shown:
            heads = ["row", "seeds", *results[0]["metrics"], "types near blind", "training"]
            print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
            shown = True
        print(f"| {' | '.join(line(row, results))} |", flush=True)


if __name__ == "__main__":
    main()
