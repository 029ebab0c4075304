"""`vlm_qa` in several processes, for real: torchrun, gloo, DeepSpeed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from edge_glass.fusion.vlm import VisionLanguageModel

pytestmark = pytest.mark.slow

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
COMMAND = str(Path(sys.executable).parent / "edge-glass")
ZERO = Path(__file__).parents[4] / "docker" / "deepspeed_zero2.json"
# one process of a run that says what it is, and stops after a logged step where one is named
ONE = """
import sys
from pathlib import Path
from edge_glass.training.loop.curves import Curves
from edge_glass.training.params import load_params
from edge_glass.training.stages import vlm_qa

stop, original, train = int(sys.argv[1]), Curves.log, vlm_qa.train

def log(self, step, values):
    original(self, step, values)
    if step == stop:
        raise SystemExit("stopped as asked")

def spy(params, processes, launch):
    print("distributed type", launch.accelerator.distributed_type.value, flush=True)
    train(params, processes, launch)

Curves.log, vlm_qa.train = log, spy
vlm_qa.run(load_params(Path("params.yaml")))
"""


def outputs() -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for folder in ("models/vlm_qa", "plots/vlm_qa")
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def losses() -> list[float]:
    lines = Path("plots/vlm_qa/plots/metrics/loss.tsv").read_text().splitlines()[1:]
    return [float(line.split("\t")[1]) for line in lines]


def run(size: int, stop: int = 0, *, succeeds: bool = True) -> str:
    Path("one.py").write_text(ONE)
    command = [*TORCHRUN, f"--nproc_per_node={size}", "one.py", str(stop)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return done.stdout + done.stderr


OPTIM = {"learning_rate": 0.001, "weight_decay": 0.1, "warmup_steps": 1}
NAMING = {
    "ema_decay": 0.9,
    "visual_tokens": {"kind": "grid", "width": 8, "aligned_dim": 4},
    "naming": {"weight": 1.0, "steps": 3, "optim": OPTIM},
}


@pytest.mark.parametrize("options", [{"ema_decay": 0.0}, NAMING])
def test_torchrun_gives_the_bytes_of_one_process(
    configure: Callable[..., Any], options: dict[str, Any]
) -> None:
    if "naming" in options:
        pooling = {"width": None, "key_dim": 8, "num_heads": 2}
        configure({"poolings": {"attention": pooling}}, num_microbatches=4, **options)
        subprocess.run([COMMAND, "align"], check=True)
    else:
        configure(num_microbatches=4, **options)
    done = subprocess.run([COMMAND, "vlm-qa"], check=True, capture_output=True, text=True)
    assert ("names learned in 3 steps" in done.stdout) == ("naming" in options)
    alone = outputs()
    assert any("accuracy_val" in name for name in alone)
    for size in (2, 4):
        torchrun = [*TORCHRUN, "--no-python", f"--nproc_per_node={size}"]
        subprocess.run([*torchrun, COMMAND, "vlm-qa"], check=True)
        found = outputs()
        assert found.keys() == alone.keys()
        assert [name for name in alone if found[name] != alone[name]] == []


def test_a_run_goes_on_with_another_number_of_processes(configure: Callable[..., Any]) -> None:
    configure(num_microbatches=4)
    run(1)
    whole = outputs()
    assert "stopped as asked" in run(2, stop=8, succeeds=False)
    assert Path("artifacts/state/vlm_qa/model.safetensors").is_file()
    assert "going on from step 6" in run(1)
    assert outputs() == whole


def test_ddp_learns_what_the_tree_learns(configure: Callable[..., Any]) -> None:
    configure(num_microbatches=4)
    run(1)
    tree = losses()
    # the command starts the processes itself
    configure({"launch": "ddp", "launches": {"ddp": {"num_processes": 2}}})
    done = subprocess.run([COMMAND, "vlm-qa"], check=True, capture_output=True, text=True)
    assert "launch ddp: 2 of 4 possible processes" in done.stdout
    # float32 sums in another order, carried through twelve steps
    assert losses() == pytest.approx(tree, rel=1e-3)


@pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed")
def test_zero_2_learns_resumes_and_hands_on_a_model(configure: Callable[..., Any]) -> None:
    configure(num_microbatches=4, steps=30, optim={**OPTIM, "learning_rate": 0.01})
    run(1)
    tree = losses()
    zero = {"deepspeed_zero2": {"num_processes": 2, "config": str(ZERO)}}
    configure({"launch": "deepspeed_zero2", "launches": zero})
    said = run(2)
    assert said.count("distributed type DEEPSPEED") == 2
    assert "the bytes are those of this number of processes only (R0, R1)" in said
    assert losses()[-1] < 0.7 * losses()[0]
    # float32 sums in another order, carried through the first steps
    assert losses()[:4] == pytest.approx(tree[:4], rel=1e-3)
    whole = outputs()

    for stop in (8, 20):
        run(2, stop=stop, succeeds=False)
        assert (Path("artifacts/state/vlm_qa") / f"parts-{stop // 3 * 3}").is_dir()
    assert "going on from step 18" in run(2)
    assert outputs() == whole
    assert not Path("artifacts/state/vlm_qa").exists()

    model = VisionLanguageModel.from_pretrained("models/vlm_qa", load_vision_encoder=False)
    assert not model.training
    assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed")
def test_zero_2_resumes_adapters_over_a_frozen_base(
    configure: Callable[..., Any], tiny_qwen: dict[str, Any]
) -> None:
    zero = {"deepspeed_zero2": {"num_processes": 2, "config": str(ZERO)}}
    configure({
        "launch": "deepspeed_zero2", "launches": zero,
        "decoder": "qwen2_5_7b", "decoders": {"qwen2_5_7b": tiny_qwen},
    })  # fmt: skip
    run(2)
    whole = outputs()
    run(2, stop=8, succeeds=False)
    assert "going on from step 6" in run(2)
    assert outputs() == whole


OPTIM = {"learning_rate": 0.003, "weight_decay": 0.1, "warmup_steps": 2}
