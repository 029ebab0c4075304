"""What the same bytes on every CPU cost: `portable` against `native`, stage by stage, in one run.

Run:    python benchmarks/portable.py [--repeats 3] [--stages align]   (after `dvc repro encode`)
Needs:  edge-glass-training

`encode` works on the images of the unseen vendor, `align` and `vlm_qa` take some steps of the
sample, each with the stage's own code in a process of its own, portable and native in turn. The
figures are medians over the repeats: seconds of `encode`, milliseconds a step of the others.
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

SPLIT = "val_vendor"
STAGES = ("encode", "align", "vlm_qa")
STEPS = {"align": 40, "vlm_qa": 60}
WARM_UP = 20
PROGRAM = """
import sys, time
from pathlib import Path
from edge_glass.training.engine.determinism import set_environment
stage, mode = sys.argv[1:]
set_environment(mode)
from importlib import import_module
from edge_glass.training.params import load_params
module = import_module(f"edge_glass.training.stages.{stage}")
params = load_params(Path("params.yaml"))
start = time.perf_counter()
module.run(params)
print("seconds", time.perf_counter() - start)
"""


def seconds(stage: str, mode: str, params: dict[str, Any]) -> float:
    """Run a stage in a folder of its own; return seconds (a step, of those that train)."""
    params = copy.deepcopy(params)
    params["reproducibility"] = mode
    scale = params["scale"]
    for each, steps in STEPS.items():
        params[each][scale] |= {"steps": steps, "validation_steps": steps, "log_steps": WARM_UP}
        params[each][scale]["optim"]["warmup_steps"] = WARM_UP
    params["vlm_qa"][scale]["validation_steps"] = 0
    params["vlm_qa"][scale]["naming"]["steps"] = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link(folder, stage)
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        command = [sys.executable, "-c", PROGRAM, stage, mode]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        if stage == "encode":
            return float(done.stdout.split()[-1])
        log = folder / "logs" / stage / "plots/metrics/samples_per_second.tsv"
        rates = [float(line.split()[-1]) for line in log.read_text().splitlines()[2:]]
        return float(params[stage][scale]["batch_size"]) / statistics.median(rates)


def link(folder: Path, stage: str) -> None:
    """Give a folder what a stage reads: for `encode` one split's pictures alone."""
    artifacts = folder / "artifacts"
    for part in ("prepared", "features"):
        source = Path("artifacts", part).resolve()
        if stage != "encode":
            artifacts.mkdir(exist_ok=True)
            (artifacts / part).symlink_to(source)
        elif part == "prepared":
            for file in source.glob(f"*/{SPLIT}.*"):
                (artifacts / part / file.parent.name).mkdir(parents=True, exist_ok=True)
                (artifacts / part / file.parent.name / file.name).symlink_to(file)
    if stage == "vlm_qa":
        (folder / "models").mkdir()
        (folder / "models/align").symlink_to(Path("models/align").resolve())


def main() -> None:
    """Print a line a stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    arguments = parser.parse_args()
    if not Path("artifacts/features/index.json").is_file():
        raise SystemExit("artifacts/features is not there: run `dvc repro encode` first")
    params = yaml.safe_load(Path("params.yaml").read_text())
    for stage in arguments.stages:
        found: dict[str, list[float]] = {"portable": [], "native": []}
        for _ in range(arguments.repeats):
            for mode, times in found.items():
                times.append(seconds(stage, mode, params))
        portable, native = (statistics.median(times) for times in found.values())
        unit, factor = ("s", 1) if stage == "encode" else ("ms a step", 1000)
        print(
            f"{stage}: portable {factor * portable:.1f}, native {factor * native:.1f} {unit}: "
            f"ratio {portable / native:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
