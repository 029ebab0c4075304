"""Experiment trackers beside DVCLive, through accelerate: TensorBoard, W&B, MLflow, trackio.

They get what the curves and the speed's log get. No output of a stage and no later step depends on
them: a tracker that fails is left out with a warning, and the training goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edge_glass.encoders.components import ConfigError, nearest, shown
from edge_glass.encoders.files import replacing
from edge_glass.training.engine.processes import Processes
from edge_glass.training.folders import LOGS
from edge_glass.training.loop.state import RunState
from edge_glass.training.runtime.fingerprint import stage_parameters
from edge_glass.training.runtime.progress import say

if TYPE_CHECKING:
    from edge_glass.training.params import Params

LOG_WITH = "log_with"
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")  # names here, of modules and on PyPI
# pip takes versions of years ago of these if it may not replace what constraints.txt pins
UNPINNED = {"mlflow": "'mlflow>=3'", "trackio": "'trackio>=0.40'"}
PROJECT = "edge-glass"


def check_trackers(names: Any, where: str) -> tuple[str, ...]:
    """Returns the names of trackers that `params.yaml` gives.

    Raises:
        ConfigError: if it is no list, or a name is unknown or there twice.
    """
    if not isinstance(names, list):
        raise ConfigError(
            f"{where}: {LOG_WITH} is {shown(names)}, expected a list such as [] or [{TRACKERS[0]}]"
        )
    for name in names:
        if name not in TRACKERS:
            hint = nearest(name, TRACKERS) if isinstance(name, str) else ""
            raise ConfigError(
                f"{where}: {LOG_WITH} names {shown(name)}{hint}; known: {', '.join(TRACKERS)}"
            )
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: {LOG_WITH} names a tracker twice; keep one of them")
    return tuple(names)


def check_packages(names: tuple[str, ...], where: str) -> None:
    """Checks that the packages of trackers are installed.

    Raises:
        ConfigError: naming the command that installs one.
    """
    for name in names:
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder `wandb` of logs is no package
            package = UNPINNED.get(name, f"-c constraints.txt {name}")
            raise ConfigError(
                f"{where}: {LOG_WITH} names {name}, which is not installed: run `python -m pip "
                f"install {package}`, or remove it from {LOG_WITH}"
            )


class Trackers:
    """The trackers of a run, in the main process; see `docs/experiments.md`.

    Each record counts once: the number of records sent is kept in `logs/trackers`, so that a
    resumed run sends only those that a killed one had not sent, to the same run of the tracker.

    Raises:
        ValueError: if a tracker does not start, such as W&B without a login.
    """

    def __init__(self, stage: str, params: Params, state: RunState, processes: Processes) -> None:
        self.stage, self.state = stage, state
        self.opened: dict[str, Any] = {}
        self.file = LOGS / "trackers" / f"{stage}.json"
        if not (params.log_with and processes.main):
            return
        note = _read_note(self.file) if state.step else None
        fresh = {"run": f"{stage}-{time.strftime('%Y%m%d-%H%M%S')}", "sent": 0, "mlflow": None}
        self.note: dict[str, Any] = note or fresh
        LOGS.mkdir(exist_ok=True)
        _set_up_accelerate(processes.device)
        for name in params.log_with:
            try:
                self.opened[name] = self._open(name)
                if note is None or name == "trackio":  # its resumed run starts without parameters
                    values = dict(_flat(stage_parameters(params, stage)))
                    self.opened[name].store_init_configuration(values)
            except Exception as error:  # of a package that is not ours
                raise ValueError(
                    f"{LOG_WITH}: {name} does not start: {_one_line(error)}; log in or set it "
                    f"up as its documentation describes, or remove it from {LOG_WITH}"
                ) from error
        self._keep()

    def _open(self, name: str) -> Any:
        """Returns one of accelerate's trackers, of a new run or of the one that goes on."""
        from accelerate import tracking

        run = self.note["run"]
        if name == "tensorboard":
            tracker: Any = tracking.TensorBoardTracker(run, logging_dir=LOGS / name)
        elif name == "wandb":
            tracker = tracking.WandBTracker(
                PROJECT, id=run, name=run, dir=str(LOGS), resume="allow"
            )
        elif name == "mlflow":
            folder = (LOGS / name).absolute()
            os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder}.db")
            tracker = tracking.MLflowTracker(
                PROJECT, logging_dir=folder.as_uri(), run_name=run, run_id=self.note["mlflow"]
            )
        else:
            tracker = tracking.TrackioTracker(PROJECT, name=run, resume="allow")
        tracker.main_process_only = False  # this is the main process
        tracker.start()
        if name == "mlflow":
            self.note["mlflow"] = tracker.tracker.info.run_id
        return tracker

    def log(self, values: Mapping[str, float]) -> None:
        """Sends the newest record of the run's history, with values that are not part of it."""
        record = len(self.state.history)
        if not self.opened or record <= self.note["sent"]:
            return
        numbers = {name: float(value) for name, value in values.items()}
        self._each(lambda tracker: tracker.log(numbers, step=self.state.step))
        self.note["sent"] = record
        self._keep()

    def close(self) -> None:
        """Ends the runs of the trackers."""
        self._each(lambda tracker: tracker.finish())
        self.opened = {}

    def _each(self, action: Callable[[Any], None]) -> None:
        for name, tracker in list(self.opened.items()):
            try:
                action(tracker)
            except Exception as error:  # noqa: BLE001 - of a package that is not ours
                say(
                    f"{self.stage}: warning: {name} failed at step {self.state.step} and gets no "
                    f"more records; the training goes on: {_one_line(error)}"
                )
                del self.opened[name]

    def _keep(self) -> None:
        with replacing(self.file) as path:
            path.write_text(json.dumps(self.note))


def _set_up_accelerate(device: torch.device) -> None:
    """Gives accelerate's logger the state that it needs; the number of threads stays."""
    from accelerate import PartialState

    threads = torch.get_num_threads()
    PartialState(cpu=device.type == "cpu")
    torch.set_num_threads(threads)


def _read_note(path: Path) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None  # the log was deleted: the run is a new one for the trackers
    return note


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Returns parameters as pairs of a dotted name and what a tracker can hold."""
    if isinstance(value, Mapping):
        return [
            pair
            for key, each in value.items()
            for pair in _flat(each, f"{prefix}.{key}".lstrip("."))
        ]
    if isinstance(value, list):
        value = json.dumps(value)
    return [(prefix, "null" if value is None else value)]


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
