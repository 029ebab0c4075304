"""What equal bytes at any number of processes cost: `tree` against DistributedDataParallel.

Run:    python benchmarks/launches.py [--repeats 3] [--processes 2]     (after `dvc repro align`)
Needs:  edge-glass-training

`vlm_qa` takes some steps of the sample in two processes of one thread each, with its own code and
gloo, under both launches in turn. The figures are medians of milliseconds a step over the repeats.
`ddp` averages gradients by an all-reduce in the last backward pass of a step; `tree` gathers the
sums of each process's shards and adds them in one fixed order.
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

STEPS, WARM_UP = 80, 20
PROGRAM = "from edge_glass.fusion.app.cli import main; main()"


def seconds(launch: str, processes: int, params: dict[str, Any]) -> float:
    """Run the stage in a folder of its own; return seconds a step."""
    params = copy.deepcopy(params) | {"launch": launch, "num_threads": 1}
    params["launches"][launch]["num_processes"] = processes
    options = params["vlm_qa"][params["scale"]]
    options |= {"steps": STEPS, "validation_steps": 0, "log_steps": WARM_UP}
    options["optim"]["warmup_steps"] = WARM_UP
    options["naming"]["steps"] = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("artifacts/prepared", "artifacts/features", "models/align"):
            (folder / part).parent.mkdir(exist_ok=True)
            (folder / part).symlink_to(Path(part).resolve())
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        command = [sys.executable, "-c", PROGRAM, "vlm-qa"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        log = folder / "logs/vlm_qa/plots/metrics/samples_per_second.tsv"
        rates = [float(line.split()[-1]) for line in log.read_text().splitlines()[2:]]
        return float(options["batch_size"]) / statistics.median(rates)


def main() -> None:
    """Print both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    params = yaml.safe_load(Path("params.yaml").read_text())
    found: dict[str, list[float]] = {"tree": [], "ddp": []}
    for _ in range(arguments.repeats):
        for launch, times in found.items():
            times.append(seconds(launch, arguments.processes, params))
    tree, ddp = (1000 * statistics.median(times) for times in found.values())
    print(
        f"{arguments.processes} processes of one thread: tree {tree:.0f}, ddp {ddp:.0f} ms a step: "
        f"ratio {tree / ddp:.2f}"
    )


if __name__ == "__main__":
    main()
