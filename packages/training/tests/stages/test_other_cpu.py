"""R4: another CPU gives the same bytes. Emulated, so slow: Haswell (AVX2, Intel) and EPYC (AMD)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

QEMU = shutil.which("qemu-x86_64")
PROGRAM = "from edge_glass.fusion.app.cli import main; main()"
STAGES = ("align", "vlm-qa")
OUTPUTS = ("models", "plots")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None, reason="no qemu-x86_64 here (Debian: qemu-user)"),
]


def run(project: Path, stages: tuple[str, ...], *emulator: str) -> None:
    # torch's threads apart, which the parameters pin, a machine's number of cores must not matter
    environment = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    for stage in stages:
        done = subprocess.run(
            [*emulator, sys.executable, "-c", PROGRAM, stage],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]


def written(project: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(project)): path.read_bytes()
        for folder in OUTPUTS
        for path in sorted((project / folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny project that this CPU has run."""
    from tiny_pixmo import PARAMS, build_data

    project = tmp_path_factory.mktemp("native")
    build_data(project / "data")
    params: dict[str, Any] = {**PARAMS, "reproducibility": "portable"}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    run(project, ("prepare", "encode", *STAGES))
    return project


@pytest.mark.parametrize("cpu", ["Haswell", "EPYC"])
def test_an_emulated_cpu_trains_to_the_same_bytes(native: Path, tmp_path: Path, cpu: str) -> None:
    assert QEMU is not None
    project = tmp_path / cpu
    project.mkdir()
    shutil.copy(native / "params.yaml", project)
    for part in ("prepared", "features"):
        shutil.copytree(native / "artifacts" / part, project / "artifacts" / part)
    run(project, STAGES, QEMU, "-cpu", cpu)
    expected, found = written(native), written(project)
    assert expected.keys() == found.keys()
    assert [name for name in expected if expected[name] != found[name]] == []
    assert any(name.endswith("model.safetensors") for name in found)


def test_native_kernels_would_not_have_done(native: Path, tmp_path: Path) -> None:
    """The comparison above can fail: this CPU's own kernels give other bytes."""
    project = tmp_path / "own"
    shutil.copytree(native, project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["reproducibility"] = "native"
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    run(project, ("align",))
    weights = "models/align/model.safetensors"
    assert (project / weights).read_bytes() != (native / weights).read_bytes()
