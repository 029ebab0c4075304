"""Training curves through DVCLive: one tab-separated file a metric, for `dvc plots`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_glass.training.engine.state import RunState


class Curves:
    """Logs what is a function of the data (never a time, whose bytes would not repeat).

    Args:
        folder: where the curves go; emptied first, and a resumed run's history written again,
            so that a run that was killed leaves the same files as one that was not.
        state: the run's state, whose history grows with each record.
    """

    def __init__(self, folder: Path, state: RunState) -> None:
        from dvclive.live import Live

        shutil.rmtree(folder, ignore_errors=True)
        self.state = state
        self.folder = folder
        self.live: Any = Live(
            dir=str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False
        )
        for record in state.history:
            self._write(record)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one record at a step."""
        record = {"step": float(step), **values}
        self.state.history.append(record)
        self._write(record)

    def _write(self, record: Mapping[str, float]) -> None:
        self.live.step = int(record["step"])
        for name, value in record.items():
            if name != "step":
                self.live.log_metric(name, float(value))

    def close(self) -> None:
        """Ends the log, and leaves the curves alone in the folder, for `dvc plots`."""
        self.live.end()
        (self.folder / "metrics.json").unlink(missing_ok=True)
