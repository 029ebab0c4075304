"""`edge-glass plan` against the measured peak memory of real stages on a CPU.

Run:    python benchmarks/plan.py [CASE ...]
Needs:  the sample pipeline's outputs in the current folder (dvc repro), Linux

Each case runs one stage in a new process and in a temporary folder, for a few steps. Its peak is
VmHWM of /proc, and the plan is that of the same parameters. A case must agree within 15 %.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

from edge_glass.training.params import parse_params
from edge_glass.training.plan.estimate import need_of
from edge_glass.training.plan.hardware import Hardware, occupied
from edge_glass.training.plan.overrides import overridden
from edge_glass.training.plan.workload import read_workload
from edge_glass.training.runtime.yaml_file import read_yaml

TARGET = 0.15
INPUTS = ("artifacts/prepared", "artifacts/features", "models/align")
SECONDS = 400  # a stage that runs on has reached its longest batch by then
MACHINE = Hardware(name="CPU", memory=0, num_gpus=0, disk=0, speed=1.0)
LARGER = [
    f"decoders.qwen2_5_tiny.config.{size}"
    for size in (
        "hidden_size=512", "intermediate_size=1536", "num_hidden_layers=8",
        "num_attention_heads=4", "num_key_value_heads=2",
    )
]  # fmt: skip
FEW = [
    "vlm_qa.sample.steps=1", "vlm_qa.sample.optim.warmup_steps=0",
    "vlm_qa.sample.validation_steps=0", "vlm_qa.sample.checkpoint=last",
    "vlm_qa.sample.naming.steps=1", "vlm_qa.sample.naming.optim.warmup_steps=0",
    "reproducibility=native",
]  # fmt: skip
QWEN = [*FEW, "decoder=qwen2_5_tiny", *LARGER, "vlm_qa.sample.batch_size=64"]
CASES = {
    # captions are encoded first, and a run may not come to its end in time
    "encode": ("encode", ["reproducibility=native", "encode.sample.caption_image_size=256"]),
    "align": ("align", [
        "align.sample.steps=3", "align.sample.optim.warmup_steps=1",
        "align.sample.validation_steps=3", "reproducibility=native",
    ]),
    "vlm_qa, recursive": ("vlm_qa", FEW),
    "vlm_qa, Qwen2 of 8 layers": ("vlm_qa", QWEN),
    "the same, checkpointed": (
        "vlm_qa", [*QWEN, "decoders.qwen2_5_tiny.gradient_checkpointing=true"],
    ),
}  # fmt: skip


def compare(stage: str, changes: list[str], project: Path) -> tuple[int, int]:
    """Plan and run a stage on the data of a project; return both peaks in bytes."""
    raw = overridden(read_yaml(project / "params.yaml"), changes)
    params = parse_params(raw, where="params.yaml")
    work = read_workload(params, images=None, questions=None, tokens=None)
    planned = occupied(need_of(stage, params, work).peak, MACHINE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        YAML().dump(raw, folder / "params.yaml")
        # inputs only: a stage would write its output through a link into the project
        for inputs in INPUTS[: {"encode": 1, "align": 2, "vlm_qa": 3}[stage]]:
            (folder / inputs).parent.mkdir(exist_ok=True)
            (folder / inputs).symlink_to(project.resolve() / inputs)
        return planned, measured_peak(stage, folder)


def measured_peak(stage: str, folder: Path) -> int:
    """Run a stage until it ends, or for `SECONDS`; return its largest memory."""
    program = "from edge_glass.fusion.app.cli import main; main()"
    command = [sys.executable, "-c", program, stage.replace("_", "-")]
    peak, start = 0, time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        while process.poll() is None and time.monotonic() - start < SECONDS:
            time.sleep(0.05)
            status = Path(f"/proc/{process.pid}/status").read_text()
            lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
            peak = max(peak, int(lines[0].split()[1]) * 1024) if lines else peak
        process.terminate()
        process.wait()
    if process.returncode not in (0, -15):
        raise SystemExit(f"{stage} ended with {process.returncode}: {(folder / 'log').read_text()}")
    return peak


def main() -> None:
    """Print a row per case; fail if one is more than 15 % off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES))
    failed = []
    print(f"{'case':28} {'plan':>8} {'measured':>9} {'error':>7}")
    for name in parser.parse_args().cases:
        planned, measured = compare(*CASES[name], Path.cwd())
        error = planned / measured - 1
        print(
            f"{name:28} {planned / 1e9:5.2f} GB {measured / 1e9:6.2f} GB {error:+7.1%}", flush=True
        )
        if abs(error) > TARGET:
            failed.append(name)
    if failed:
        raise SystemExit(f"more than {TARGET:.0%} off: {', '.join(failed)}")


if __name__ == "__main__":
    main()
