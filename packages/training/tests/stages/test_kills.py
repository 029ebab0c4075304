"""R1: a stage that is killed again and again writes the bytes of one that never was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

# One process loads the libraries, and forks one child a run: that starts in milliseconds. A child
# is killed from outside at a random moment, or kills itself before the n-th call of a function: in
# the middle of accumulating gradients, before the optimizer's step, before the state's bytes are
# flushed, before a file takes its place.
PROGRAM = """
import json, os, random, signal, sys, time
from importlib import import_module
from pathlib import Path

import torch
from edge_glass.encoders import files
from edge_glass.training.params import load_params

stage, kills, outputs = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
module = import_module(f"edge_glass.training.stages.{stage}")
draw = random.Random(0)
places = [(os, "fsync"), (os, "replace")]
if stage in ("align", "vlm_qa"):
    places += [(torch.autograd, "grad"), (torch.optim.AdamW, "step")]
else:
    places += [(files, "_exchange")]


def die_at(owner, name, call):
    original = getattr(owner, name)
    def counting(*args, **kwargs):
        counting.left -= 1
        if counting.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    counting.left = call
    setattr(owner, name, counting)


def start(prepare=None):
    child = os.fork()
    if child == 0:
        if prepare:
            prepare()
        module.run(load_params(Path("params.yaml")))
        sys.stdout.flush()
        os._exit(0)
    return child


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


begin = time.monotonic()
assert ended(start()) == 0
seconds = time.monotonic() - begin
for number, folder in enumerate(outputs):
    Path(folder).rename(f"whole_{number}")
died = {"random": 0}
for number in range(kills):
    if number % 2:
        child = start()
        time.sleep(draw.uniform(0.1, 0.9) * seconds)
        os.kill(child, signal.SIGKILL)
        died["random"] += ended(child) == -signal.SIGKILL
        continue
    owner, name = places[number // 2 % len(places)]
    call = draw.randint(1, 9 if stage in ('align', 'vlm_qa') else 2)
    call = 1 if owner is files else call  # an output folder takes its place once in a run
    code = ended(start(lambda: die_at(owner, name, call)))
    died[name] = died.get(name, 0) + (code == -signal.SIGKILL)
assert ended(start()) == 0
print(json.dumps(died))
"""


def written(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


OUTPUTS = {
    "prepare": ["artifacts/prepared"],
    "encode": ["artifacts/features"],
    "align": ["models/align", "plots/align"],
    "vlm_qa": ["models/vlm_qa", "plots/vlm_qa"],
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", OUTPUTS)
def test_twenty_kills_leave_no_trace(stage: str, project: Path, params: dict[str, Any]) -> None:
    trains = stage in ("align", "vlm_qa")
    if trains:
        params[stage]["tiny"].update(steps=60, checkpoint_steps=2)
    if stage == "vlm_qa":  # names are learned first, and have no saved state of their own
        params["poolings"]["attention"] = {"width": None, "key_dim": 8, "num_heads": 2}
        optim = {"learning_rate": 0.001, "weight_decay": 0.1, "warmup_steps": 1}
        params["vlm_qa"]["tiny"].update(
            visual_tokens={"kind": "grid", "width": 8, "aligned_dim": 4},
            naming={"weight": 1.0, "steps": 5, "optim": optim},
        )
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-c", "from edge_glass.fusion.app.cli import main; main()"]
    for before in ("prepare", "encode", "align"):
        if before == stage:
            break
        subprocess.run([*command, before], check=True)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, stage, "24", *OUTPUTS[stage]],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    died = json.loads(done.stdout.splitlines()[-1])
    assert all(died.values()), died
    assert sum(died.values()) >= 20
    assert ("going on from step" in done.stdout) == trains
    for number, folder in enumerate(OUTPUTS[stage]):
        assert written(project / folder) == written(project / f"whole_{number}")
