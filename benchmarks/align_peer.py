"""Stage `align` beside the trainer of sentence-transformers: scores, time and memory.

Run:    python benchmarks/align_peer.py [RUN ...]           (after `dvc repro encode`)
Needs:  edge-glass-training, sentence-transformers[train] (6.2), Linux

Both train the same pooling and heads on the same cached features of the frozen encoders, with the
Matryoshka dims and weights, batch size, dropout, AdamW, clipping, warm-up and cosine of params.yaml
and the fastest kernels. Ours is the stage itself. The peer is SentenceTransformerTrainer with a
Router (one route per modality) and MatryoshkaLoss over CachedMultipleNegativesRankingLoss in both
directions; its batches come from BatchSamplers.NO_DUPLICATES, and hold one image per concept.
"same pairs" trains ours without the recycled classes, which the peer does not have.

Each run is a new process and trains its number of steps with a whole schedule; the last weights are
scored. Time is the CPU time of the process from the data to the trained weights, without imports;
on one thread it is what the clock shows on an idle machine. Memory is the peak of the process
(VmHWM), then its part above that of the imports. Runs are kept in a JSON file, so that a second
start runs only what is missing; seeds are the outer loop, so that the runs take turns. A line of
the table is the median over the seeds, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from align_parts.peer import train_peer

RUNS: dict[str, dict[str, Any]] = {
    "align": {"kind": "ours", "share": 1.0},
    "align, same pairs": {"kind": "ours", "share": 1.0, "recycle": 0},
    "align, same pairs, half the steps": {"kind": "ours", "share": 0.5, "recycle": 0},
    "peer, two thirds of the steps": {"kind": "peer", "share": 2 / 3},
    "peer": {"kind": "peer", "share": 1.0},
}
# What the peer's options were chosen from, on seed 0, by R@1 on the validation splits.
TRIALS: dict[str, dict[str, Any]] = {
    "peer, half the steps": {"kind": "peer", "share": 0.5},
    "peer, scale 30": {"kind": "peer", "share": 0.5, "scale": 30.0},
    "peer, scale 50": {"kind": "peer", "share": 0.5, "scale": 50.0},
    "peer, rate 1e-3": {"kind": "peer", "share": 0.5, "rate": 1e-3},
    "peer, one row per caption": {"kind": "peer", "share": 0.5, "rows": "captions"},
    "peer, all rates equal": {"kind": "peer", "share": 0.5, "pooling_rate": None},
    "peer, microbatches of 448": {"kind": "peer", "share": 0.5, "mini_batch": 448},
}
SPLITS = ("val_vendor", "val_concept", "val_other")


def raw_params(options: dict[str, Any], seed: int, threads: int) -> dict[str, Any]:
    """Return params.yaml with the steps, seed and pairs of a run, and without validation."""
    raw: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text())
    align = raw["align"]["sample"]
    steps = round(align["steps"] * options["share"])
    align |= {"steps": steps, "validation_steps": steps, "checkpoint": "last"}
    align["recycle"] = options.get("recycle", align["recycle"])
    raw |= {"seed": seed, "num_threads": threads, "reproducibility": "native"}
    return raw


def train_ours(params: Any, _: object) -> Any:
    """Train with the stage; return the model."""
    from edge_glass.encoders.dual_encoder import DualEncoder
    from edge_glass.training.folders import ALIGNED
    from edge_glass.training.stages.align import run

    run(params)
    return DualEncoder.from_pretrained(ALIGNED / "last", load_encoders=False)


def peak() -> int:
    """Return the largest memory of this process so far, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) * 1024 for each in lines if each.startswith("VmHWM"))


def one(options: dict[str, Any]) -> dict[str, Any]:
    """Train in this process, in the current folder; return scores, seconds and memory."""
    import torch

    from edge_glass.training.align.validation import BATCH, validation_splits
    from edge_glass.training.evaluation.retrieval.recall import retrieval_curve
    from edge_glass.training.features.cache import gather, read_index
    from edge_glass.training.folders import PREPARED
    from edge_glass.training.params import load_params

    # imports are not timed
    importlib.import_module("edge_glass.training.stages.align")
    if options["kind"] == "peer":
        importlib.import_module("datasets")
        importlib.import_module("sentence_transformers")
    params = load_params(Path("params.yaml"))
    train = train_ours if options["kind"] == "ours" else train_peer
    before, clock, start = peak(), time.perf_counter(), time.process_time()
    model = train(params, options)
    seconds, clock, memory = time.process_time() - start, time.perf_counter() - clock, peak()
    scores = {}
    dims = params.align.matryoshka_dims
    splits = validation_splits(read_index().splits["captions"], PREPARED)
    with torch.inference_mode():
        for name, split in splits.items():
            parts = split.rows.images.split(BATCH)
            image = torch.cat(
                [model.eval().image_embeddings(gather(split.vision, part)) for part in parts]
            )
            text = model.text_embeddings(split.captions)
            curve = retrieval_curve(image, text, split.rows.groups, split.groups, dims, ks=(1,))
            scores[name] = {
                str(dim): {way: each["R@1"] for way, each in both.items()}
                for dim, both in curve.items()
            }
    return {
        "seconds": seconds, "clock": clock, "memory": memory, "own_memory": memory - before,
        "steps": params.align.steps, "scores": scores,
    }  # fmt: skip


def start(options: dict[str, Any], seed: int, threads: int) -> dict[str, Any]:
    """Run `one` in a new process and in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "artifacts").mkdir()
        for part in ("prepared", "features"):
            (folder / "artifacts" / part).symlink_to(Path("artifacts", part).resolve())
        raw = raw_params(options, seed, threads)
        (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        command = [sys.executable, str(Path(__file__).resolve()), "--one", json.dumps(options)]
        variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "0"}
        done = subprocess.run(
            command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True, env=variables
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def middle(values: list[float], form: str = ".1f") -> str:
    """Return the median, with the smallest and the largest."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}} to {high:{form}})"


def line(name: str, results: list[dict[str, Any]]) -> str:
    """Return a row of the table: R@1 at the full dims and at an eighth of them."""
    dims = sorted(map(int, results[0]["scores"][SPLITS[0]]), reverse=True)
    cells = [name, str(results[0]["steps"]), middle([each["seconds"] for each in results], ".0f")]
    cells += (
        f"{statistics.median(each[key] for each in results) / 1e6:.0f}"
        for key in ("memory", "own_memory")
    )
    for split in SPLITS:
        for way in ("i2t", "t2i"):
            found = [each["scores"][split] for each in results]
            small = statistics.median(100 * each[str(dims[0] // 8)][way] for each in found)
            cells.append(f"{middle([100 * e[str(dims[0])][way] for e in found])}; {small:.1f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", help=f"of: {'; '.join([*RUNS, *TRIALS])}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1, help="of torch, for both")
    parser.add_argument("--results", type=Path, default=Path("logs/align_peer.json"))
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print("\n" + json.dumps(one(arguments.one)))
        return
    missing = [name for name in ("sentence_transformers", "datasets") if find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"{' and '.join(missing)} not found: pip install 'sentence-transformers[train]'"
        )
    if not Path("artifacts/features/index.json").is_file():
        raise SystemExit("artifacts/features is not there: run `dvc repro encode` first")
    kept = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
    names = arguments.runs or list(RUNS)
    for seed in arguments.seeds:
        for name in names:
            if f"{name}, seed {seed}" not in kept:
                found = start({**RUNS, **TRIALS}[name], seed, arguments.threads)
                kept[f"{name}, seed {seed}"] = found
                arguments.results.parent.mkdir(parents=True, exist_ok=True)
                arguments.results.write_text(json.dumps(kept, indent=1))
    ways = [f"{split}, {way}" for split in SPLITS for way in ("i2t", "t2i")]
    head = ["R@1 in %, all dims; an eighth", "steps", "CPU s", "MB", "own MB", *ways]
    print("| " + " | ".join(head) + " |\n|" + "--|" * len(head))
    for name in names:
        print(line(name, [kept[f"{name}, seed {seed}"] for seed in arguments.seeds]))


if __name__ == "__main__":
    main()
