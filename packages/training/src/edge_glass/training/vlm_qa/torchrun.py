"""The processes of a launch, started by `torchrun`."""

from __future__ import annotations

import os
import sys


def sharing_processes(num_processes: int, num_microbatches: int) -> int:
    """Returns the largest number of processes, at most the given one, that share microbatches."""
    return next(n for n in range(num_processes, 0, -1) if num_microbatches % n == 0)


def start_processes(number: int, num_threads: int) -> None:
    """Replaces this process by `torchrun`, which runs this command in `number` processes.

    Does nothing if torchrun (or `accelerate launch`) has started this process already, or if the
    number is 1.
    """
    if "RANK" in os.environ or number == 1:
        return
    # otherwise torchrun sets 1 and prints a warning
    os.environ.setdefault("OMP_NUM_THREADS", str(num_threads))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={number}"]
    again = ["-c", "from edge_glass.fusion.app.cli import main; main()", *sys.argv[1:]]
    os.execv(sys.executable, [sys.executable, *torchrun, "--no-python", sys.executable, *again])
