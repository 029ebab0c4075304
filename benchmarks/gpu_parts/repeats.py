"""R0 and R1 of the stage `vlm_qa`: the same run twice, and a run that is killed and resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from gpu_parts.project import Size, load

KILLED = "killed"  # the argument of the process that is killed


def params(scratch: Path, size: Size, quantization: str) -> Any:
    """Returns the parameters of a run of few layers, with the projection in chunks."""
    steps = 4 * size.steps
    return load(
        scratch, size,
        decoders__qwen2_5_7b__model=str(scratch / "small"),
        decoders__qwen2_5_7b__quantization=quantization,
        vlm_qa__paper__steps=steps, vlm_qa__paper__checkpoint_steps=2,
        vlm_qa__paper__certificate_steps=4, vlm_qa__paper__validation_steps=steps // 2,
        vlm_qa__paper__validation_questions=8, vlm_qa__paper__max_new_tokens=4,
        vlm_qa__paper__checkpoint="best", vlm_qa__paper__log_steps=4,
    )  # fmt: skip


def run(scratch: Path, size: Size, quantization: str) -> None:
    """Runs the stage in the current folder."""
    from edge_glass.training.stages import vlm_qa as stage

    stage.run(params(scratch, size, quantization))


def repeats(scratch: Path, size: Size, *, quantization: str) -> dict[str, Any]:
    """Compares weights and certificates of a run, of a second one, and of a resumed one."""
    outputs = {}
    for name in ("first", "second", "resumed"):
        folder = scratch / f"{name}-{quantization}"
        (folder / "artifacts").mkdir(parents=True)
        for part in ("prepared", "features"):
            link = folder / "artifacts" / part
            link.symlink_to(scratch / "questions/artifacts" / part)
        with chdir(folder):
            if name == "resumed":
                kill_one(quantization, folder)
            run(scratch, size, quantization)
            outputs[name] = {
                file: hashlib.sha256(Path("models/vlm_qa", file).read_bytes()).hexdigest()
                for file in ("model.safetensors", "chain.json")
            }
            starts = json.loads(Path("logs/vlm_qa/certificate.json").read_text())["starts"]
        if name != "resumed":
            shutil.rmtree(folder)
    first = outputs["first"]
    return {
        "R0": outputs["second"] == first, "R1": outputs["resumed"] == first,
        "resumed_after_step": starts[-1]["after_step"],
        "chain": first["chain.json"][:16], "weights": first["model.safetensors"][:16],
    }  # fmt: skip


def kill_one(quantization: str, folder: Path) -> None:
    """Starts the run in a new process and kills it as soon as it has saved a state."""
    script = Path(__file__).parents[1] / "gpu.py"
    command = [sys.executable, str(script), *sys.argv[1:]]
    command += ["--quantization", quantization, "--then", KILLED]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    state = folder / "artifacts/state/vlm_qa/model.safetensors"
    while process.poll() is None and not state.is_file():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise RuntimeError(f"the run ended with {process.returncode} before it was killed")
