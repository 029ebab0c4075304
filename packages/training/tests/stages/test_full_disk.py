"""A disk that fills up while a stage trains: a clear error, the last good state, the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_glass.training.loop.state import StateFile
from edge_glass.training.params import load_params
from edge_glass.training.stages import align, encode, prepare

ALONE = ["unshare", "--user", "--map-root-user", "--mount"]  # may mount, and only for itself
# The folder of the states is a small disk of its own, on which one state has room and not two.
SCRIPT = """
set -e
mkdir -p artifacts/state
mount -t tmpfs -o size=$1 tmpfs artifacts/state
run() { "$2" -c 'from edge_glass.fusion.app.cli import main; main()' align; }
run "$@" && echo 'the disk was large enough'
ls -a artifacts/state/align
mount -o remount,size=64M artifacts/state
run "$@"
"""


def can_mount() -> bool:
    try:
        probe = [*ALONE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(probe, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_good_state(
    project: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_mount():
        pytest.skip("no tmpfs can be mounted here: it takes user namespaces")
    params["align"]["tiny"].update(steps=12, checkpoint_steps=4)
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "clear", lambda self: None)
        for stage in (prepare, encode, align):
            stage.run(load_params(project / "params.yaml"))
    state = project / "artifacts/state/align"
    size = sum(path.stat().st_size for path in state.iterdir())
    subprocess.run(["rm", "-r", str(state)], check=True)
    whole = {path: path.read_bytes() for path in project.glob("models/align/**/*.*")}
    assert len(whole) >= 5
    subprocess.run(["rm", "-r", "models", "plots"], check=True)

    done = subprocess.run(
        [*ALONE, "sh", "-c", SCRIPT, "sh", str(size * 3 // 2), sys.executable],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "the disk was large enough" not in done.stdout
    assert "No space left on device" in done.stderr
    assert "free some space on the disk" in done.stderr
    assert "model.safetensors\n" in done.stdout
    assert ".tmp" not in done.stdout
    assert "going on from step 4" in done.stdout
    assert {path: path.read_bytes() for path in project.glob("models/align/**/*.*")} == whole
