"""The settings that bytes depend on: set before torch loads, or refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edge_glass.training.engine.determinism import (
    ENVIRONMENT,
    PORTABLE_ENVIRONMENT,
    environment,
    make_deterministic,
    set_environment,
)


@pytest.fixture(autouse=True)
def _restore_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


PROGRAM = """
import json, os, sys
from pathlib import Path
from edge_glass.training import commands
from edge_glass.training.engine import lock

def stop(stage):
    import torch
    from edge_glass.training.engine.determinism import make_deterministic
    mode = commands._reproducibility(Path("params.yaml"))
    make_deterministic(1, mode)
    torch.manual_seed(0)
    product = torch.randn(50, 700) @ torch.randn(700, 20)
    print(json.dumps([dict(os.environ), torch.backends.cpu.get_cpu_capability(),
                      torch.backends.mkldnn.enabled, product.double().sum().item()]))
    raise SystemExit

lock.stage_lock = stop
commands._run(sys.argv[1], Path("params.yaml"))
"""


def started(project: Path, stage: str, mode: str, **variables: str) -> tuple[list[object], str]:
    """What a stage finds when it starts: variables, torch's kernels, oneDNN, a product."""
    file = project / "params.yaml"
    file.write_text(file.read_text().replace("reproducibility: native", f"reproducibility: {mode}"))
    clean = {n: v for n, v in os.environ.items() if n not in environment("portable", "encode")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, stage],
        env=clean | variables,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("stage", ["encode", "align"])
def test_portable_settles_the_environment_before_torch_loads(project: Path, stage: str) -> None:
    found, said = started(project, stage, "portable", MKL_CBWR="AVX512")
    variables, capability, onednn, _ = found
    assert isinstance(variables, dict)
    assert environment("portable", stage).items() <= variables.items()
    assert (variables.get("ONEDNN_MAX_CPU_ISA") == "AVX2") == (stage == "encode")
    assert onednn == (stage == "encode")
    assert capability == "AVX2"
    assert "MKL_CBWR was 'AVX512', set to 'COMPATIBLE': it changes bytes" in said


def test_native_leaves_the_kernels_to_the_cpu(project: Path) -> None:
    found, _ = started(project, "align", "native")
    variables, _, onednn, product = found
    assert isinstance(variables, dict)
    assert not PORTABLE_ENVIRONMENT.keys() & variables.keys()
    assert onednn
    portable, _ = started(project, "align", "portable")
    assert portable[3] == pytest.approx(product, rel=1e-4)
    assert portable[3] != product


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
        assert ENVIRONMENT.items() <= environment(mode, "align").items()
