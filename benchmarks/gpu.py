"""All that is measured on a GPU, in one command: speed, memory, and which bytes repeat.

Run:    python benchmarks/gpu.py                 (one GPU with 80 GB, under 9 minutes)
        python benchmarks/gpu.py --tiny          (any machine: that it works, no figures)
        python benchmarks/gpu.py --only data train_bf16
Needs:  torch 2.11, transformers 5.17, accelerate, peft, pyarrow and PyYAML, or newer ones; no
        network and no installation of this project. bitsandbytes, sentence-transformers, Liger, TRL
        (with datasets): what needs one that is missing is skipped by its name.

Weights are random and have the real sizes. Each part runs in a process of its own, with a limit of
time; a part that fails is recorded and the others go on. It writes gpu.json and prints one table.
A token is a word of a question or an answer; a position is a token or a visual token.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("encoders", "decoders", "fusion", "training", "tools")
# seconds, packages, and the parts that have to be done before; in the order of their weight
PARTS: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]] = {
    "data": (90, (), ()),
    "encode": (60, (), ("data",)),
    "train_bf16": (150, ("peft",), ("encode",)),
    "train_recomputed": (100, ("peft",), ("train_bf16",)),
    "peer_transformers": (100, ("peft",), ("train_bf16",)),
    "peer_transformers_40": (100, ("peft",), ("train_bf16",)),
    "repeat_bf16": (100, ("peft",), ("encode",)),
    "train_4bit": (120, ("peft", "bitsandbytes"), ("train_bf16",)),
    "repeat_4bit": (100, ("peft", "bitsandbytes"), ("encode",)),
    "attention": (40, (), ()),
    "flex": (60, (), ()),
    "norms": (40, (), ()),
    "align": (60, ("sentence_transformers",), ("data",)),
    "peer_trl": (100, ("peft", "trl", "datasets"), ("train_bf16",)),
}
KEPT = 5  # seconds before the end in which no part starts
# figure: what it should be, at least or at most
TARGETS: dict[tuple[str, str], tuple[str, float]] = {
    ("encode", "images_per_second"): (">=", 800),
    ("train_bf16", "mfu_6n"): (">=", 0.45),
    ("train_4bit", "peak_gb"): ("<=", 24),
    ("ratios", "speed_over_transformers"): (">=", 1.3),
    ("ratios", "memory_of_transformers"): ("<=", 0.5),
    ("ratios", "speed_over_transformers_40"): (">=", 1.3),
    ("ratios", "memory_of_transformers_40"): ("<=", 0.5),
    ("ratios", "speed_over_trl"): (">=", 1.3),
    ("ratios", "memory_of_trl"): ("<=", 0.5),
    **{("attention", f"{name}_repeats"): (">=", 1) for name in ("flex", "sdpa")},
    **{(f"repeat_{kind}", level): (">=", 1) for kind in ("bf16", "4bit") for level in ("R0", "R1")},
}


def calls() -> dict[str, Callable[..., dict[str, Any]]]:
    """Returns the functions of the parts, which take the scratch folder and the sizes."""
    from gpu_parts import kernels, peers, repeats, stages

    def without_folder(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        return lambda _, size: function(size)

    return {
        "data": stages.data,
        "encode": stages.encode,
        "align": stages.align,
        "train_bf16": partial(stages.train, quantization="none", checkpointing=2),
        "train_recomputed": partial(stages.train, quantization="none", checkpointing=True),
        "train_4bit": partial(stages.train, quantization="4bit", checkpointing=True),
        "repeat_bf16": partial(repeats.repeats, quantization="none"),
        "repeat_4bit": partial(repeats.repeats, quantization="4bit"),
        "peer_transformers": partial(peers.transformers, images=1),
        "peer_transformers_40": partial(peers.transformers, images=5),
        "peer_trl": peers.trl,
        "attention": without_folder(kernels.attention),
        "flex": without_folder(kernels.flex),
        "norms": without_folder(kernels.norms),
    }


def run_part(arguments: argparse.Namespace) -> None:
    """Runs one part in this process and writes its figures."""
    from gpu_parts import stand_ins
    from gpu_parts.project import FULL, TINY

    from edge_glass.training.engine.determinism import make_deterministic, set_environment

    stand_ins.install()
    set_environment("native")
    make_deterministic(1)
    size, scratch = TINY if arguments.tiny else FULL, arguments.scratch
    if arguments.then:  # the run that `repeats` kills
        from gpu_parts import repeats

        repeats.run(scratch, size, arguments.quantization)
        return
    try:
        found = {"status": "done", **calls()[arguments.part](scratch, size)}
    except Exception as error:  # noqa: BLE001 - recorded: the other parts go on
        traceback.print_exc()
        found = {"status": f"failed: {type(error).__name__}: {error}".splitlines()[0][:200]}
    (scratch / f"{arguments.part}.json").write_text(json.dumps(found))


def start_part(name: str, arguments: argparse.Namespace, scratch: Path, limit: float) -> Any:
    """Runs one part in a new process and returns what it found."""
    command = [sys.executable, str(Path(__file__).resolve()), "--part", name]
    command += ["--scratch", str(scratch), *(["--tiny"] if arguments.tiny else [])]
    sources = [str(ROOT / "packages" / each / "src") for each in PACKAGES]
    paths = os.pathsep.join([*sources, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}
    start, log = time.perf_counter(), scratch / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
    file = scratch / f"{name}.json"
    if file.is_file():
        found = json.loads(file.read_text())
    else:
        found = {"status": "out of time" if code is None else f"failed: exit status {code}"}
    if found["status"] != "done":
        found["log"] = log.read_text()[-2000:]
    return {**found, "seconds": round(time.perf_counter() - start, 1), "limit": round(limit, 1)}


def ratios(parts: dict[str, Any]) -> dict[str, Any]:
    """Returns ours against each peer: the speed on the same questions, and the memory.

    The memory is that of the run that recomputes each layer, as the peers do.
    """
    ours, lean, found = parts.get("train_bf16", {}), parts.get("train_recomputed", {}), {}
    for name in ("transformers", "transformers_40", "trl"):
        theirs = parts.get(f"peer_{name}", {})
        if "questions_per_second" in ours and "questions_per_second" in theirs:
            found[f"speed_over_{name}"] = (
                ours["questions_per_second"] / theirs["questions_per_second"]
            )
        if "peak_gb" in lean and "peak_gb" in theirs:
            found[f"memory_of_{name}"] = lean["peak_gb"] / theirs["peak_gb"]
    return found


def table(parts: dict[str, Any]) -> None:
    """Prints one line for each figure, with its target if it has one."""
    for part, found in parts.items():
        for name, value in found.items():
            if name in ("status", "log", "limit"):
                continue
            target = TARGETS.get((part, name))
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            judged = ""
            if target is not None and isinstance(value, (bool, int, float)):
                sign, limit = target
                held = value >= limit if sign == ">=" else value <= limit
                judged = f"{sign} {limit:g}: {'yes' if held else 'NO'}"
            print(f"{part:18} {name:26} {shown:>24}  {judged}")
        if found.get("status", "done") != "done":
            print(f"{part:18} {found['status']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny models on a CPU")
    parser.add_argument("--seconds", type=float, default=525, help="for all parts together")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts; give those before them")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    for name in ("--part", "--then", "--quantization"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        run_part(arguments)
        return
    import torch

    if not (arguments.tiny or torch.cuda.is_available()):
        print("gpu: skipped, there is no GPU here (--tiny shows that the script works)")
        return
    # weights are read from memory if there is room for 16 GB of them, and features
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 40e9
    parts: dict[str, Any] = {}
    end = time.perf_counter() + arguments.seconds
    with tempfile.TemporaryDirectory(dir=memory if roomy else None) as folder:
        for name, (seconds, packages, before) in PARTS.items():
            if arguments.only and name not in arguments.only:
                continue
            missing = [each for each in packages if importlib.util.find_spec(each) is None]
            undone = [each for each in before if parts.get(each, {}).get("status") != "done"]
            left = end - time.perf_counter() - KEPT
            if missing:
                parts[name] = {"status": f"skipped: no {', '.join(missing)}"}
            elif undone:
                parts[name] = {"status": f"skipped: {', '.join(undone)} not done"}
            elif left < min(seconds, 15):
                parts[name] = {"status": "skipped: the time is used up"}
            else:
                parts[name] = start_part(name, arguments, Path(folder), min(seconds, left))
            print(f"{name}: {parts[name]['status']}, {parts[name].get('seconds', 0)} s", flush=True)
    parts["ratios"] = ratios(parts)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    versions = {}
    for package in ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "trl"):
        if importlib.util.find_spec(package) is not None:
            versions[package] = importlib.metadata.version(package)
    print(f"\n{gpu or 'CPU'}, {versions}" + (" TINY: no figures" if arguments.tiny else ""))
    table(parts)
    report = {"gpu": gpu, "tiny": arguments.tiny, "versions": versions, "parts": parts}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
