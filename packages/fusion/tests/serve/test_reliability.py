"""A short form of benchmarks/serving.py and benchmarks/serving_faults.py, and Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"


@pytest.mark.slow  # starts a server and sends hundreds of requests
@pytest.mark.parametrize(
    ("script", "option", "expected"),
    [
        ("serving.py", "--requests=2000", "2000 requests of 32 clients"),
        ("serving_faults.py", "--malformed=300", "no faults"),
    ],
)
def test_a_server_survives(
    script: str, option: str, expected: str, vlm_folder: Path, dual_folder: Path, tmp_path: Path
) -> None:
    for name, folder in (("vlm_qa", vlm_folder), ("align", dual_folder)):
        (tmp_path / name).symlink_to(folder)
    done = subprocess.run(
        [
            *(sys.executable, str(BENCHMARKS / script), option),
            *("--vlm", str(tmp_path / "vlm_qa"), "--align", str(tmp_path / "align")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert expected in done.stdout
