"""The command line of fetch: what it needs, and what it prints if that is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fetching import rows, write_input
from hostile_server import HostileServer, png

# None in sys.modules makes an import fail, as if the package were not installed
WITHOUT = "import sys; sys.modules[{!r}] = None; from edge_glass.fusion.app.cli import main; main()"


def test_a_missing_extra_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in.parquet", ["http://example.org/1"])
    for module in ("aiohttp", "yarl"):
        command = [sys.executable, "-c", WITHOUT.format(module), "fetch", source, tmp_path / "out"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr == (
            f"edge-glass: fetch needs {module}, which is not installed: "
            "`pip install 'edge-glass-training[fetch]'`\n"
        )


def test_help_needs_no_extra() -> None:
    command = [sys.executable, "-c", WITHOUT.format("aiohttp"), "fetch", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--retry-failed" in done.stdout


MACOS = """
import os
for name in ("sched_getaffinity", "posix_fallocate", "posix_fadvise", "memfd_create"):
    delattr(os, name)
from edge_glass.fusion.app.cli import main
main()
"""


def test_a_system_without_linux_calls_and_a_proxy_in_the_environment(tmp_path: Path) -> None:
    with HostileServer() as server:
        source = write_input(tmp_path / "in.parquet", [server.url("ok/1")])
        command = [sys.executable, "-c", MACOS, "fetch", source, tmp_path / "out"]
        done = subprocess.run(
            [*command, "--allow-private"],
            env={**os.environ, "HTTP_PROXY": "http://me:secret@127.0.0.1:9"},
            capture_output=True,
            text=True,
            check=True,
        )
    assert rows(tmp_path / "out")[0]["image"]["bytes"] == png(1)
    assert done.stdout.count("HTTP_PROXY is set, and it is not used") == 1
    assert "secret" not in done.stderr + done.stdout
