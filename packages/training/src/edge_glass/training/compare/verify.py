"""A stage runs again in a folder of its own, and its outputs are compared with the project's.

Nothing of the project changes: the copy reads the same inputs through links, and writes elsewhere.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edge_glass.training.compare.divergence import describe, environment_differences, files_below
from edge_glass.training.folders import STATE
from edge_glass.training.runtime.pipeline import FILE, StageFiles, read_pipeline
from edge_glass.training.runtime.yaml_file import read_yaml

PROGRAM = "from edge_glass.fusion.app.cli import main; main()"
NOT_COMMANDS = ("notebooks",)  # stages without a subcommand of `edge-glass`


def stages_of(project: Path, params: Path) -> dict[str, StageFiles]:
    """Returns what `dvc.yaml` declares for the stages that can be verified, in its order."""
    stages = read_pipeline(project, read_yaml(params))
    return {name: files for name, files in stages.items() if name not in NOT_COMMANDS}


def verify_stage(stage: str, project: Path, params: Path) -> list[str]:
    """Runs a stage again in a temporary folder below `artifacts/state`, and compares.

    Returns lines that describe the differences; none if every byte is equal.
    """
    stages = stages_of(project, params)
    if stage not in stages:
        raise ValueError(f"stage is {stage!r}, expected one of {', '.join(stages)}")
    files = stages[stage]
    missing = [path for path in (*files.inputs, *files.outputs) if not (project / path).exists()]
    if missing:
        raise ValueError(f"{missing[0]} is missing: run `dvc repro {stage}` or `dvc pull` first")
    (project / STATE).mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"verify_{stage}_", dir=project / STATE))
    try:
        # JSON is YAML; a run that only compares bytes is not for the trackers
        raw = {**read_yaml(params), "log_with": []}
        (work / "params.yaml").write_text(json.dumps(raw))
        shutil.copyfile(project / FILE, work / FILE)
        for path in (*files.inputs, *files.sources):
            _link(project, work, path)
        command = [sys.executable, "-c", PROGRAM, stage.replace("_", "-")]
        done = subprocess.run(command, cwd=work, check=False)
        if done.returncode:
            raise ChildProcessError(f"{stage} ended with status {done.returncode}, see above")
        lines = describe(project, work, files.outputs)
        return lines + (environment_differences(project, work, stage) if lines else [])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def count_files(project: Path, files: StageFiles) -> int:
    """Returns the number of files in the outputs of a stage."""
    return sum(len(files_below(project / path)) for path in files.outputs)


def _link(project: Path, work: Path, path: str) -> None:
    """Makes a link in the temporary folder; an absolute path needs none."""
    target, link = project / path, work / path
    if not target.exists() or Path(path).is_absolute():
        return
    if ".." in Path(path).parts:
        raise ValueError(
            f"{path} lies outside of the project, where a second run would not find it: give "
            "data_folder as an absolute path, or as one below the project"
        )
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target.resolve())
