"""Training curves through DVCLive: one tab-separated file a metric, for `dvc plots`."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edge_glass.training.engine.processes import Processes
from edge_glass.training.folders import LOGS
from edge_glass.training.loop.state import RunState


class Curves:
    """Logs what is a function of the data (never a time, whose bytes would not repeat).

    Args:
        folder: where the curves go; emptied first, and a resumed run's history written again,
            so that a run that was killed leaves the same files as one that was not.
        state: the run's state, whose history grows with each record.
        processes: only the main one writes.
    """

    def __init__(self, folder: Path, state: RunState, processes: Processes | None = None) -> None:
        self.state, self.folder = state, folder
        self.live: Any = None
        if processes is None or processes.main:
            shutil.rmtree(folder, ignore_errors=True)
            self.live = _live(folder)
            for record in state.history:
                self._write(record)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one record at a step."""
        record = {"step": float(step), **values}
        self.state.history.append(record)
        self._write(record)

    def _write(self, record: Mapping[str, float]) -> None:
        if self.live is not None:
            self.live.step = int(record["step"])
            for name, value in record.items():
                if name != "step":
                    self.live.log_metric(name, float(value))

    def close(self) -> None:
        """Ends the log, and leaves the curves alone in the folder, for `dvc plots`."""
        if self.live is not None:
            self.live.end()
            (self.folder / "metrics.json").unlink(missing_ok=True)


class Speed:
    """Logs samples/s under `logs/STAGE`, which git and the stage's outputs leave out.

    Args:
        stage: the stage's name.
        state: of the run; one that goes on adds to its log.
        processes: only the main one writes.
    """

    def __init__(self, stage: str, state: RunState, processes: Processes | None = None) -> None:
        self.live: Any = None
        self.counts: dict[str, float] = {}
        self.since = time.perf_counter()
        if processes is None or processes.main:
            if state.step == 0:
                shutil.rmtree(LOGS / stage, ignore_errors=True)
            self.live = _live(LOGS / stage, resume=state.step > 0)

    def count(self, samples: int, **others: int) -> None:
        """Adds a step's samples, and other things by name, such as `tokens`."""
        for name, number in {"samples": samples, **others}.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def log(self, step: int, **values: float) -> None:
        """Writes the rates since the last record, and other values that won't repeat."""
        now = time.perf_counter()
        if self.live is not None:
            self.live.step = step
            for name, value in values.items():
                self.live.log_metric(name, value)
            for name, number in self.counts.items():
                self.live.log_metric(f"{name}_per_second", number / (now - self.since))
        self.counts, self.since = {}, now


def peak_memory(device: torch.device) -> float:
    """Returns the most memory in use so far in this process, in GB (of the GPU, where it has one).

    It is not reproducible, so that it goes to no stage's output.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts KiB


def _live(folder: Path, *, resume: bool = False) -> Any:
    from dvclive.live import Live

    return Live(
        dir=str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False,
        resume=resume,
    )  # fmt: skip
