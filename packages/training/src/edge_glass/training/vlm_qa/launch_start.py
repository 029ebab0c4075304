"""Starting the processes that a launch asks for."""

from __future__ import annotations

import os
import sys

from edge_glass.encoders.components import Component


def start_processes(launch: Component, num_threads: int) -> None:
    """Becomes `torchrun` with as many processes of this very command as the launch names.

    Does nothing in a process that torchrun (or `accelerate launch`) has started already, nor where
    one process without company is asked for.

    Args:
        launch: of params.yaml.
        num_threads: of each process.
    """
    number = launch.config.num_processes
    if "RANK" in os.environ or number == 1:
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(num_threads))  # else torchrun sets 1, with a text
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={number}"]
    again = ["-c", "from edge_glass.fusion.app.cli import main; main()", *sys.argv[1:]]
    os.execv(sys.executable, [sys.executable, *torchrun, "--no-python", sys.executable, *again])
