"""All packages' tests are collected in one process, as `tox run -e slow` and the docs do it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_slow_tests_of_all_packages_are_collected_together() -> None:
    """The conftest of one package (its type checks, say) is then active for the others too."""
    command = [sys.executable, "-m", "pytest", "-m", "slow", "--collect-only", "-q"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "packages", "tests"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    for name in ("zero_2", "torchrun"):  # the command that docs/reproducibility.md names
        assert f"test_{name}" in done.stdout
