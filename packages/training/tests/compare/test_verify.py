"""`edge-glass verify` and `compare`, on a tiny project, as commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edge_glass.training.compare.verify import STAGE_FILES, verify_stage

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


def test_what_cannot_be_verified_is_named(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    with pytest.raises(
        ValueError, match="stage is 'alin', expected one of prepare, prepare_samples"
    ):
        verify_stage("alin", tmp_path, params, "data")
    with pytest.raises(ValueError, match="artifacts/prepared is not there: run `dvc repro align`"):
        verify_stage("align", tmp_path, params, "data")
    done = command(tmp_path, "compare", ".", ".")
    assert done.returncode == 1
    assert "no params.yaml there; expected the folder of a project" in done.stderr


def test_the_files_are_those_of_dvc_yaml() -> None:
    root = Path(__file__).parents[4]
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    for name, files in STAGE_FILES.items():
        listed = [
            item if isinstance(item, str) else next(iter(item))
            for kind in ("outs", "metrics", "plots")
            for item in stages[name].get(kind, [])
        ]
        assert set(files.outputs) == set(listed)
        made = [
            dep
            for dep in stages[name]["deps"]
            if dep.startswith(("artifacts", "models", "metrics"))
        ]
        assert {"/".join(dep.split("/")[:2]) for dep in made} == set(files.inputs)
