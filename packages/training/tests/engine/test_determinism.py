"""The settings that bytes depend on: set before torch loads, or refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_glass.training.engine.determinism import (
    ENVIRONMENT,
    NUM_KERNELS,
    PORTABLE_ENVIRONMENT,
    environment,
    make_deterministic,
    set_environment,
)
from tiny_pixmo import PARAMS

pytestmark = pytest.mark.usefixtures("restore_torch")


PROGRAM = """
import json, os, sys
from pathlib import Path
if "TORCH_FIRST" in os.environ:
    import torch
from edge_glass.training import commands
from edge_glass.training.runtime import run_stage
from edge_glass.training.runtime.yaml_file import read_yaml

def stop(stage):
    import torch
    from edge_glass.training.engine.determinism import make_deterministic
    mode = read_yaml(Path("params.yaml"))["reproducibility"]
    make_deterministic(1, mode)
    torch.manual_seed(0)
    product = torch.randn(50, 700) @ torch.randn(700, 20)
    print(json.dumps([dict(os.environ), torch.backends.cpu.get_cpu_capability(),
                      torch.backends.mkldnn.enabled, product.double().sum().item()]))
    raise SystemExit

run_stage.stage_lock = stop
commands._run(sys.argv[1], Path("params.yaml"))
"""


def started(folder: Path, stage: str, mode: str, **variables: str) -> tuple[list[Any], str]:
    """What a stage finds when it starts: variables, torch's kernels, oneDNN, a product."""
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"reproducibility": mode}))
    settled = {*environment("portable"), NUM_KERNELS[0]}
    clean = {n: v for n, v in os.environ.items() if n not in settled}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, stage],
        cwd=folder,
        env=clean | variables,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_portable_settles_the_environment_before_torch_loads(tmp_path: Path) -> None:
    products = {}
    for stage, variables, kernels in (
        ("encode", {"MKL_CBWR": "AVX512", NUM_KERNELS[0]: "64"}, "64"),  # no byte depends on it
        ("align", {"TORCH_FIRST": "1"}, NUM_KERNELS[1]),
    ):
        found, said = started(tmp_path, stage, "portable", **variables)
        settled, capability, onednn, products[stage] = found
        assert environment("portable").items() <= settled.items()
        assert settled[NUM_KERNELS[0]] == kernels
        assert not onednn, "for products and convolutions alone, see portable_matmul"
        assert capability == "AVX2"
        too_late = "torch was imported before its settings: restarting" in said
        assert too_late == (stage == "align")
        changed = "MKL_CBWR was 'AVX512', set to 'COMPATIBLE': it changes bytes" in said
        assert changed == (stage == "encode")
    assert products["encode"] == products["align"]

    (settled, _, onednn, product), _ = started(tmp_path, "align", "native")
    assert not PORTABLE_ENVIRONMENT.keys() & settled.keys()
    assert onednn, "native leaves the kernels to the CPU"
    assert products["align"] == pytest.approx(product, rel=1e-4)
    assert products["align"] != product


def test_the_environment_is_not_set_too_late() -> None:
    with pytest.raises(RuntimeError, match=r"torch was imported before .* run stages by"):
        set_environment()


def test_portable_without_its_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PORTABLE_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError, match=r"portable, but ATEN_CPU_CAPABILITY is None and not"):
        make_deterministic(1, "portable")


def test_every_stage_shares_the_base() -> None:
    for mode in ("portable", "native"):
        assert ENVIRONMENT.items() <= environment(mode).items()
