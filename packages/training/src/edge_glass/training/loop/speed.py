"""How fast and in how much memory a run trains: values that do not repeat."""

from __future__ import annotations

import resource
import shutil
import time
from typing import Any

import torch

from edge_glass.training.engine.processes import Processes
from edge_glass.training.folders import LOGS
from edge_glass.training.loop.curves import open_live
from edge_glass.training.loop.state import RunState


class Speed:
    """Logs samples per second under `logs/STAGE`, which is neither in git nor an output.

    Args:
        state: of the run; a resumed run adds to its log.
        processes: only the main one writes.
    """

    def __init__(self, stage: str, state: RunState, processes: Processes) -> None:
        self.live: Any = None
        self.counts: dict[str, float] = {}
        self.since = time.perf_counter()
        if processes.main:
            if state.step == 0:
                shutil.rmtree(LOGS / stage, ignore_errors=True)
            self.live = open_live(LOGS / stage, resume=state.step > 0)

    def count(self, samples: int, **others: int) -> None:
        """Adds the samples of a step, and other counts by name, such as `tokens`."""
        for name, number in {"samples": samples, **others}.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def log(self, step: int, **values: float) -> dict[str, float]:
        """Writes and returns the rates since the last record, and other such values."""
        now = time.perf_counter()
        rates = {f"{name}_per_second": n / (now - self.since) for name, n in self.counts.items()}
        logged = {**values, **rates}
        if self.live is not None:
            self.live.step = step
            for name, value in logged.items():
                self.live.log_metric(name, value)
        self.counts, self.since = {}, now
        return logged


def peak_memory(device: torch.device) -> float:
    """Returns the peak memory of this process so far, in GB: the GPU's if `device` is one.

    The value is not reproducible, so it is not part of any output of a stage.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts KiB
