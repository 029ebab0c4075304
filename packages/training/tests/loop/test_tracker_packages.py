"""The trackers themselves, offline: each gets the parameters, and each record of a run once.

A tracker that is not installed is skipped (tox run -e trackers installs all four). What it got is
read from its own files.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_glass.training.engine.processes import Processes
from edge_glass.training.loop.state import RunState
from edge_glass.training.loop.trackers import PROJECT, TRACKERS, Trackers
from edge_glass.training.params import Params, parse_params

Losses = list[tuple[int, float]]
SENT = [(10, 1.5), (20, 1.25), (30, 0.75), (40, 0.5)]


def from_tensorboard() -> tuple[Losses, str]:
    found = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    losses: Losses = []
    for folder in sorted({path.parent for path in Path("logs/tensorboard").rglob("events*")}):
        events = found.EventAccumulator(str(folder))
        events.Reload()
        if "loss" in events.Tags()["scalars"]:
            losses += [(event.step, event.value) for event in events.Scalars("loss")]
    (values,) = Path("logs/tensorboard").rglob("hparams.yml")
    return sorted(losses), values.read_text()


def from_wandb() -> tuple[Losses, str]:
    """Reads the files of offline runs: the format of LevelDB's log, records of W&B in it."""
    record_class = pytest.importorskip("wandb.proto.wandb_internal_pb2").Record
    losses: Losses = []
    config = ""
    for path in sorted(Path("logs/wandb").glob("offline-run-*/*.wandb")):
        for content in leveldb_records(path.read_bytes()):
            record = record_class.FromString(content)
            found = {
                item.key or "/".join(item.nested_key): item.value_json
                for item in record.history.item
            }
            if "loss" in found:
                losses.append((int(found["_step"]), float(found["loss"])))
            config += str(record.run.config) + str(record.config)
    return losses, config


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """Yields the records of a log: 7 bytes of file header, then chunks in blocks of 32 KiB."""
    at, whole = 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a full record, or the last part of one
            yield whole
            whole = b""


def from_mlflow() -> tuple[Losses, str]:
    client = pytest.importorskip("mlflow.tracking").MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    (experiment,) = client.search_experiments(filter_string=f"name = '{PROJECT}'")
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    return [(each.step, each.value) for each in history], str(run.data.params)


def from_trackio() -> tuple[Losses, str]:
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    (run,) = storage.get_runs(PROJECT)
    logs = storage.get_logs(PROJECT, run)
    config = storage.get_run_config(PROJECT, run)
    return [(each["step"], each["loss"]) for each in logs if "loss" in each], str(config)


READERS: dict[str, Callable[[], tuple[Losses, str]]] = {
    "tensorboard": from_tensorboard,
    "wandb": from_wandb,
    "mlflow": from_mlflow,
    "trackio": from_trackio,
}


def send(params: Params, state: RunState, records: Losses) -> None:
    trackers = Trackers("align", params, state, Processes())
    for step, loss in records:
        state.step = step
        state.history.append({"step": float(step)})
        trackers.log({"loss": loss})
    trackers.close()


@pytest.mark.filterwarnings("default")  # of the packages
@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_gets_each_record_once_over_a_resumed_run(
    name: str, params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    # set, so that it is unset again after the test
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    pytest.importorskip(name)
    config = parse_params({**params, "log_with": [name]}, where="params.yaml")
    send(config, RunState(), SENT[:3])
    if name == "wandb":
        time.sleep(2)  # it names the folder of an offline run by the second
    # killed after step 30; the saved state is of step 10, and steps 20 and 30 come again
    send(config, RunState(step=10, history=[{"step": 10.0}]), SENT[1:])
    losses, parameters = READERS[name]()
    assert losses == SENT
    assert "contrastive_weight" in parameters
