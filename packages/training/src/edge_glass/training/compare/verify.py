"""A stage run again in a folder of its own, and compared with what lies in the project.

Nothing of the project is touched: the copy reads the same inputs by links, and writes beside them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge_glass.training.compare.divergence import describe, environment_differences, files_below
from edge_glass.training.folders import ALIGNED, FEATURES, PREPARED, STATE, VLM

PROGRAM = "from edge_glass.fusion.app.cli import main; main()"


@dataclass(frozen=True, kw_only=True)
class StageFiles:
    """What a stage reads and writes, as in dvc.yaml."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


_CACHED = (str(PREPARED), str(FEATURES))
STAGE_FILES = {
    "prepare": StageFiles(inputs=(), outputs=(str(PREPARED), "metrics/prepare.json")),
    "prepare_samples": StageFiles(
        inputs=(str(PREPARED), "metrics/prepare.json"), outputs=("plots/prepare",)
    ),
    "encode": StageFiles(inputs=(str(PREPARED),), outputs=(str(FEATURES), "metrics/encode.json")),
    "align": StageFiles(inputs=_CACHED, outputs=("plots/align", str(ALIGNED))),
    "evaluate_align": StageFiles(
        inputs=(*_CACHED, str(ALIGNED)),
        outputs=("metrics/evaluate_align.json", "plots/evaluate_align"),
    ),
    "vlm_qa": StageFiles(inputs=(*_CACHED, str(ALIGNED)), outputs=("plots/vlm_qa", str(VLM))),
    "evaluate_vlm_qa": StageFiles(
        inputs=(*_CACHED, str(VLM)),
        outputs=("metrics/evaluate_vlm_qa.json", "plots/evaluate_vlm_qa", "predictions/vlm_qa"),
    ),
}


def verify_stage(stage: str, project: Path, params: Path, data_folder: str) -> list[str]:
    """Runs a stage again in a temporary folder below `artifacts/state`, and compares.

    Args:
        stage: a name of `STAGE_FILES`.
        project: its folder, whose outputs are held against the new ones.
        params: the configuration file.
        data_folder: what `prepare` reads, as in the configuration.

    Returns:
        Lines that describe the differences; none where every byte is equal.

    Raises:
        ValueError: an unknown stage, or one whose inputs or outputs are not there.
        RuntimeError: where the stage fails.
    """
    if stage not in STAGE_FILES:
        raise ValueError(f"stage is {stage!r}, expected one of {', '.join(STAGE_FILES)}")
    files = STAGE_FILES[stage]
    inputs = files.inputs or (data_folder,)
    missing = [path for path in (*inputs, *files.outputs) if not (project / path).exists()]
    if missing:
        raise ValueError(f"{missing[0]} is not there: run `dvc repro {stage}` or `dvc pull` first")
    (project / STATE).mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"verify_{stage}_", dir=project / STATE))
    try:
        shutil.copyfile(params, work / "params.yaml")
        for path in inputs:
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).symlink_to((project / path).resolve())
        command = [sys.executable, "-c", PROGRAM, stage.replace("_", "-")]
        done = subprocess.run(command, cwd=work, check=False)
        if done.returncode:
            raise RuntimeError(f"{stage} ended with status {done.returncode}, see above")
        lines = describe(project, work, files.outputs)
        return lines + (environment_differences(project, work, stage) if lines else [])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def count_files(stage: str, project: Path) -> int:
    """Returns how many files a stage's outputs have."""
    return sum(len(files_below(project / path)) for path in STAGE_FILES[stage].outputs)
