"""Evaluation in several processes, for real: torchrun and gloo."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMAND = str(Path(sys.executable).parent / "edge-glass")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]


def outputs() -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for folder in ("metrics", "plots/evaluate_vlm_qa", "predictions/vlm_qa")
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one(configure: Callable[..., Any]) -> None:
    configure(steps=4, mixture={"questions": 1.0, "captions": 1.0}, max_description_tokens=4)
    for stage in ("vlm-qa", "evaluate-vlm-qa"):
        subprocess.run([COMMAND, stage], check=True)
    alone = outputs()
    assert any(name.endswith("descriptions_val.jsonl") for name in alone)
    for folder in ("metrics/evaluate_vlm_qa.json", "predictions/vlm_qa/val.jsonl"):
        Path(folder).unlink()
    subprocess.run([*TORCHRUN, "--nproc_per_node=2", COMMAND, "evaluate-vlm-qa"], check=True)
    assert outputs() == alone
