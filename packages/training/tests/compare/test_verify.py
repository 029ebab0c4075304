"""`edge-glass verify` and `compare`, on a tiny project, as commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_glass.encoders.components import ConfigError
from edge_glass.training.compare.verify import verify_stage

PROGRAM = "from edge_glass.fusion.app.cli import main; main()"


def command(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_stages_are_verified_and_runs_compared(aligned: Path, tmp_path: Path) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    shutil.copytree(aligned, project)
    shutil.copytree(aligned, other)
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
    done = command(project, "verify", "align")
    assert done.returncode == 0, done.stderr
    assert "verify align: equal, " in done.stdout
    left = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
    assert left == before

    done = command(tmp_path, "compare", "project", "other")
    assert (done.returncode, done.stdout) == (
        0,
        "equal: parameters and every byte of every stage\n",
    )

    params = yaml.safe_load((project / "params.yaml").read_text())
    params["seed"] = 1
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    done = command(project, "verify", "align")
    assert done.returncode == 1
    assert "verify align: differs\n  first at step 1 of the chain: weights at the" in done.stdout
    assert "\n  first at step 2: " in done.stdout
    assert "models/align/model.safetensors: tensor " in done.stdout
    done = command(tmp_path, "compare", "project", "other")
    assert (done.returncode, done.stdout) == (1, "parameter seed: 1 and 0\n")


@pytest.mark.slow
def test_what_cannot_be_verified_is_named(project: Path, params: dict[str, Any]) -> None:
    path = project / "params.yaml"
    with pytest.raises(
        ValueError, match="stage is 'alin', expected one of prepare, prepare_samples"
    ):
        verify_stage("alin", project, path)
    with pytest.raises(
        ValueError, match="artifacts/prepared/captions is missing: run `dvc repro align`"
    ):
        verify_stage("align", project, path)
    (project / "dvc.yaml").unlink()
    with pytest.raises(ConfigError, match=r"dvc\.yaml: no such file"):
        verify_stage("align", project, path)
    path.unlink()
    done = command(project, "compare", ".", ".")
    assert done.returncode == 1
    assert "no params.yaml there; expected the folder of a project" in done.stderr
