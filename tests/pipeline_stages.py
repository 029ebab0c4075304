"""The stages of `dvc.yaml` as DVC resolves them, which several tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from dvc.parsing import DataResolver
from dvc.repo import Repo

from import_graph import ROOT

STAGES = [
    "prepare",
    "prepare_samples",
    "encode",
    "align",
    "evaluate_align",
    "vlm_qa",
    "evaluate_vlm_qa",
    "notebooks",
]
BEFORE_ALIGN = {"prepare", "prepare_samples", "encode"}


def pipeline() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())


def resolved(params: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The stages as DVC resolves them with these parameters."""
    folder = tmp_path / f"resolved{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    with Repo.init(str(folder), no_scm=True) as repo:
        stages: dict[str, Any] = DataResolver(repo, str(folder), pipeline()).resolve()["stages"]
    return stages
