"""What the certificate costs: its share of the time that `align` and `vlm_qa` train.

Run:    python benchmarks/certificate.py [--repeats 3]     (after `dvc repro align`)
Needs:  edge-glass-training

Both stages take some steps of the sample with their own code, each time in a process of its own.
The clock runs around all that the certificate does at a step (`Certificate.add`: samples, loss and
norm at each step, weights every `certificate_steps`) and around the steps, in the same run: two
runs with and without it would differ by more than it costs. Medians over the repeats.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

STEPS = {"align": 100, "vlm_qa": 200}
PROGRAM = """
import sys, time
from pathlib import Path
from edge_glass.training.engine.determinism import set_environment
stage = sys.argv[1]
set_environment("portable")
from importlib import import_module
from edge_glass.training.loop.certificate import Certificate
from edge_glass.training.params import load_params
add, spent, marks = Certificate.add, [], []

def timed(self, *args):
    start = time.perf_counter()
    add(self, *args)
    marks.append(time.perf_counter())
    spent.append(marks[-1] - start)

Certificate.add = timed
import_module(f"edge_glass.training.stages.{stage}").run(load_params(Path("params.yaml")))
# from the end of the first step on: what comes before is loading
print("spent", sum(spent[1:]), "of", marks[-1] - marks[0], "longest", max(spent))
"""


def shares(stage: str, params: dict[str, Any]) -> tuple[float, float, float]:
    """Run a stage; return the certificate's seconds, all seconds, and its longest step's."""
    params = copy.deepcopy(params)
    steps = STEPS[stage]
    params[stage][params["scale"]] |= {"steps": steps, "validation_steps": steps + 1}
    params["vlm_qa"][params["scale"]]["naming"]["steps"] = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("artifacts/prepared", "artifacts/features", "models/align"):
            if stage == "align" and part == "models/align":
                continue
            (folder / part).parent.mkdir(exist_ok=True)
            (folder / part).symlink_to(Path(part).resolve())
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        command = [sys.executable, "-c", PROGRAM, stage]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        words = done.stdout.splitlines()[-1].split()
        return float(words[1]), float(words[3]), float(words[5])


def main() -> None:
    """Print a line a stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    params = yaml.safe_load(Path("params.yaml").read_text())
    for stage, steps in STEPS.items():
        found = [shares(stage, params) for _ in range(repeats)]
        share = statistics.median(spent / whole for spent, whole, _ in found)
        longest = statistics.median(longest for *_, longest in found)
        step = statistics.median(whole for _, whole, _ in found) / (steps - 1)
        print(
            f"{stage}: {100 * share:.2f} % of the time of {steps - 1} steps of {1000 * step:.0f} "
            f"ms; {1000 * longest:.1f} ms where the weights are hashed",
            flush=True,
        )


if __name__ == "__main__":
    main()
