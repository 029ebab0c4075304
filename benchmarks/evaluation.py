"""CPU seconds to answer questions with their controls: this code against an older checkout.

Run:    python benchmarks/evaluation.py OLDER_CHECKOUT [--questions 2000] [--rounds 3]
Needs:  edge-glass-training; artifacts/ and models/ of a pipeline that has run, in this folder

Both answer the first held-out questions with their image, blind and shuffled, on one thread and in
turns, each in a process of its own, and must give the same answers. The time is that of
`answer_with_controls`, without loading the model; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

TARGET = 2.0
ROOT = Path(__file__).parents[1]


def child(questions: int, batch_size: int) -> None:
    """Answer once, and print the CPU seconds and a hash of the answers as JSON."""
    from edge_glass.training.engine.determinism import make_deterministic, set_environment

    set_environment("portable")
    make_deterministic(1, "portable")
    from edge_glass.fusion.vlm import VisionLanguageModel
    from edge_glass.training.evaluation.answers.controls import answer_with_controls
    from edge_glass.training.features.cache import prepared_rows, read_index, vision_features
    from edge_glass.training.folders import PREPARED, VLM
    from edge_glass.training.runtime.split_names import held_out_splits

    model = VisionLanguageModel.from_pretrained(VLM, load_vision_encoder=False)
    seconds, answers = 0.0, []
    for split in held_out_splits(read_index().splits["questions"]):
        rows = prepared_rows("questions", split, PREPARED)[: questions - len(answers)]
        if rows:
            features = vision_features("questions", split)
            began = time.process_time()
            found = answer_with_controls(model, rows, features, batch_size, split)
            seconds += time.process_time() - began
            answers += list(zip(*(found[name] for name in sorted(found)), strict=True))
    digest = hashlib.sha256(json.dumps(answers).encode()).hexdigest()
    print(json.dumps({"seconds": seconds, "answers": digest, "number": len(answers)}))


def measure(checkout: Path, options: argparse.Namespace) -> dict[str, float | str]:
    sources = [str(path) for path in sorted(checkout.glob("packages/*/src"))]
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(options.questions), str(options.batch_size)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sources), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("older", type=Path, help="a checkout of older code")
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"older": [], "this": []}
    for _ in range(options.rounds):
        found = {"older": measure(options.older, options), "this": measure(ROOT, options)}
        assert found["older"]["answers"] == found["this"]["answers"], "different answers"
        for name, result in found.items():
            seconds[name].append(float(result["seconds"]))
    older, this = (statistics.median(each) for each in seconds.values())
    print(f"{found['this']['number']} questions, each with two controls, CPU seconds: older "
          f"{older:.1f}, this {this:.1f}, {older / this:.1f} x; target {TARGET:.0f} x")  # fmt: skip
    print(f"rounds: {seconds}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
