"""Training curves, written by DVCLive: one tab-separated file per metric, for `dvc plots`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_glass.training.engine.processes import Processes
from edge_glass.training.loop.state import RunState


class Curves:
    """Logs values that are functions of the data. Times go to `Speed`: they do not repeat.

    Args:
        folder: of the curves. It is emptied first, and the history of a resumed run is written
            once more, so that a run that was killed leaves the same files as one that was not.
        state: of the run; its history grows with each record.
        processes: only the main one writes.
    """

    def __init__(self, folder: Path, state: RunState, processes: Processes) -> None:
        self.state, self.folder = state, folder
        self.live: Any = None
        if processes.main:
            shutil.rmtree(folder, ignore_errors=True)
            self.live = open_live(folder)
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
        """Ends the log and removes DVCLive's summary, so that only the curves remain."""
        if self.live is not None:
            self.live.end()
            (self.folder / "metrics.json").unlink(missing_ok=True)


def open_live(folder: Path, *, resume: bool = False) -> Any:
    """Returns a DVCLive log that writes curves and nothing else."""
    from dvclive.live import Live

    return Live(
        dir=str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False,
        resume=resume,
    )  # fmt: skip
