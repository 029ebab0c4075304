"""The processes of a launch, started by `torchrun`."""

from __future__ import annotations

import os
import sys

from edge_glass.encoders.components import Component
from edge_glass.training.vlm_qa.deepspeed_requirements import check_deepspeed


def start_processes(launch: Component, num_threads: int, device: str) -> None:
    """Replaces this process by `torchrun`, which runs this command in `num_processes` processes.

    Does nothing if torchrun (or `accelerate launch`) has started this process already, or if the
    launch has one process.

    Raises:
        ValueError: if the launch needs what this machine lacks.
    """
    check_deepspeed(launch.config, device)
    number = launch.config.num_processes
    if "RANK" in os.environ or number == 1:
        return
    # otherwise torchrun sets 1 and prints a warning
    os.environ.setdefault("OMP_NUM_THREADS", str(num_threads))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={number}"]
    again = ["-c", "from edge_glass.fusion.app.cli import main; main()", *sys.argv[1:]]
    os.execv(sys.executable, [sys.executable, *torchrun, "--no-python", sys.executable, *again])
