"""Trackers get each record once, and change no byte of what a stage writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.tracking import GeneralTracker

from edge_glass.encoders.components import ConfigError
from edge_glass.training.engine.processes import Processes
from edge_glass.training.loop.state import RunState
from edge_glass.training.loop.trackers import Trackers, check_packages, check_trackers
from edge_glass.training.params import Params, load_params, parse_params
from edge_glass.training.stages import align


class Recorder(GeneralTracker):
    """Keeps what it gets; raises at a step, if one is given."""

    name, requires_logging_directory, main_process_only = "recorder", False, False

    def __init__(self, broken_at: int = -1) -> None:
        super().__init__()
        self.broken_at = broken_at
        self.steps: list[int | None] = []

    @property
    def tracker(self) -> None:
        return None

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        if step == self.broken_at:
            raise ConnectionError("no route\nto host")
        self.steps.append(step)


@pytest.mark.parametrize(
    ("names", "error"),
    [
        ("wandb", "log_with is 'wandb', expected a list such as"),
        (["wanb"], r"names 'wanb' \(did you mean wandb\?\); known: tensorboard, wandb"),
        ([["wandb"]], r"names \['wandb'\]; known"),
        (["mlflow", "mlflow"], "names a tracker twice"),
    ],
)
def test_bad_names_are_refused(names: Any, error: str, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=error):
        parse_params({**params, "log_with": names}, where="params.yaml")


def test_a_missing_package_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb_of_logs").mkdir()  # as wandb writes one; a folder is no package
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"run `python -m pip install .* wandb_of_logs`"):
        check_packages(("wandb_of_logs",), "params.yaml")
    assert check_trackers([], "params.yaml") == ()


def opened(params: Params, state: RunState, *trackers: Recorder) -> Trackers:
    found = Trackers("align", params, state, Processes())
    found.note = json.loads(found.file.read_text()) if found.file.exists() else {"sent": 0}
    found.opened = {f"recorder{number}": each for number, each in enumerate(trackers)}
    return found


def add(trackers: Trackers, step: int) -> None:
    trackers.state.step = step
    trackers.state.history.append({"step": float(step)})
    trackers.log({"loss": 1.0})


def test_a_resumed_run_sends_what_was_not_sent(
    params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = parse_params(params, where="params.yaml")
    recorder = Recorder()
    first = opened(config, RunState(), recorder)
    for step in (10, 20, 30):
        add(first, step)
    # killed after step 30; the saved state is of step 10
    second = opened(config, RunState(step=10, history=[{"step": 10.0}]), recorder)
    for step in (20, 30, 40):
        add(second, step)
    assert recorder.steps == [10, 20, 30, 40]


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(
    params: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    broken, whole = Recorder(broken_at=20), Recorder()
    trackers = opened(parse_params(params, where="params.yaml"), RunState(), broken, whole)
    for step in (10, 20, 30):
        add(trackers, step)
    trackers.close()
    assert (broken.steps, whole.steps) == ([10], [10, 20, 30])
    (line,) = capsys.readouterr().out.splitlines()
    assert "warning: recorder0 failed at step 20" in line
    assert line.endswith("ConnectionError: no route to host")


def outputs() -> dict[str, bytes]:
    paths = [*Path("models/align").rglob("*"), *Path("plots/align").rglob("*")]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("restore_torch")
def test_tensorboard_gets_the_curves_and_no_byte_of_a_stage_changes(
    encoded: Path, params: dict[str, Any]
) -> None:
    events_of = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    written = {}
    for names in ([], ["tensorboard"]):
        (encoded / "params.yaml").write_text(yaml.safe_dump({**params, "log_with": names}))
        align.run(load_params(encoded / "params.yaml"))
        written[len(names)] = outputs()
    assert written[0] == written[1]
    (run,) = Path("logs/tensorboard").iterdir()
    events = events_of.EventAccumulator(str(run))
    events.Reload()
    assert {"loss", "learning_rate", "grad_norm", "samples_per_second"} <= set(
        events.Tags()["scalars"]
    )
    (curve_file,) = Path("plots/align").rglob("loss.tsv")
    curve = curve_file.read_text().splitlines()[1:]
    steps = [event.step for event in events.Scalars("loss")]
    assert steps == [int(line.split("\t")[0]) for line in curve]
