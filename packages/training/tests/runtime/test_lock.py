"""One process at a time, also on a disk without flock."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge_glass.training.runtime.lock import file_lock, stage_lock


def no_flock(descriptor: int, operation: int) -> None:
    """Fails as flock does on a file system without it."""
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_second_run_is_refused_and_a_killed_one_forgotten(
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


def test_without_flock_a_second_run_is_refused_and_a_killed_one_forgotten(tmp_path: Path) -> None:
    hold = (
        "import errno, sys, time\n"
        "from pathlib import Path\n"
        "from edge_glass.training.runtime.lock import file_lock\n"
        "def no_flock(descriptor, operation):\n"
        "    raise OSError(errno.EOPNOTSUPP, 'Operation not supported')\n"
        "with file_lock(Path(sys.argv[1]), 'it', 'remedy', flock=no_flock):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    lock = tmp_path / "sub" / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", hold, lock], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        message = f"it is already running here \\(process {process.pid} on .*or the remedy.*delete"
        with (
            pytest.raises(BlockingIOError, match=message),
            file_lock(lock, "it", "the remedy", flock=no_flock),
        ):
            pass
        process.kill()
        process.wait()
        with file_lock(lock, "it", "the remedy", flock=no_flock):
            assert f"process {os.getpid()} on" in (lock.parent / "lock.owner").read_text()
    # nothing is left that could block the next run
    assert sorted(path.name for path in lock.parent.iterdir()) == ["lock"]


@pytest.mark.parametrize("owner", ["", "process 1 on a-different-host", "process 0 on", "garbage"])
def test_without_flock_an_unknown_owner_is_refused(tmp_path: Path, owner: str) -> None:
    (tmp_path / "lock.owner").write_text(owner)
    with (
        pytest.raises(BlockingIOError, match=r"if that process has ended, delete .*lock\.owner"),
        file_lock(tmp_path / "lock", "it", "remedy", flock=no_flock),
    ):
        pass
    assert (tmp_path / "lock.owner").read_text() == owner


def test_without_flock_this_process_can_lock_once(tmp_path: Path) -> None:
    with (
        file_lock(tmp_path / "lock", "it", "remedy", flock=no_flock),
        pytest.raises(BlockingIOError, match=f"process {os.getpid()} on {socket.gethostname()}"),
        file_lock(tmp_path / "lock", "it", "remedy", flock=no_flock),
    ):
        pass


def test_other_errors_of_flock_are_raised(tmp_path: Path) -> None:
    def broken(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with (
        pytest.raises(OSError, match="Input/output error"),
        file_lock(tmp_path / "lock", "it", "remedy", flock=broken),
    ):
        pass
