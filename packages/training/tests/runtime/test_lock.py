"""One run of a stage at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_glass.training.runtime.lock import stage_lock


def test_a_second_run_is_refused_and_a_dead_one_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hold = (
        "import sys, time\n"
        "from edge_glass.training.runtime.lock import stage_lock\n"
        "with stage_lock('align'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        owner = f"stage align is already running here \\(process {process.pid} on "
        with pytest.raises(BlockingIOError, match=owner), stage_lock("align"):
            pass
        with stage_lock("vlm_qa"):
            pass
        process.kill()
    with stage_lock("align"):
        pass
