"""What both training loops do apart from training: count steps, log, validate, save, resume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from edge_glass.training.engine.processes import Processes
from edge_glass.training.loop.best import Best
from edge_glass.training.loop.certificate import Certificate
from edge_glass.training.loop.config import RunConfig
from edge_glass.training.loop.curves import Curves
from edge_glass.training.loop.speed import Speed
from edge_glass.training.loop.state import StateFile, StateSaver
from edge_glass.training.loop.trackers import Trackers
from edge_glass.training.runtime.progress import progress, say

if TYPE_CHECKING:
    from edge_glass.training.params import Params


class Run:
    """State, best weights, curves, speed, trackers and certificate of one training run.

    Args:
        trained: the weights, by name; changed in place.
        processes: of the run; only the main one writes.
        params: whose seed the certificate names, and whose `log_with` names the trackers.
        fingerprint: of configuration, code and data; see `StateFile`.
        launch: how the processes work together and in which dtype; see `StateFile`.
        level: what tests prove for this configuration, see `proven_level`.
        averages: averaged weights, if they are validated and saved instead of `trained`.
    """

    def __init__(
        self,
        stage: str,
        config: RunConfig,
        trained: Mapping[str, Tensor],
        saver: StateSaver,
        processes: Processes,
        *,
        params: Params,
        fingerprint: str,
        level: str,
        launch: str = "",
        averages: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.stage, self.config, self.trained = stage, config, trained
        self.saver, self.processes = saver, processes
        averages = averages or {}
        self.best = Best(averages or trained, config.patience)
        self.others = {f"ema.{name}": value for name, value in averages.items()}
        self.others |= self.best.saved()
        self.file = StateFile(stage, fingerprint, launch)
        self.state = saver.restore(self.file, trained, self.others)
        self.curves = Curves(Path("plots") / stage, self.state, processes)
        self.speed = Speed(stage, self.state, processes)
        self.trackers = Trackers(stage, params, self.state, processes)
        self.certificate = Certificate(
            stage, self.state.chain, trained, processes,
            every=config.certificate_steps, seed=params.seed, level=level,
        )  # fmt: skip

    def steps(self) -> Iterator[int]:
        """Yields the steps that remain; ends early if validation scores no longer improve."""
        left = range(self.state.step, self.config.steps)
        for step in progress(left, self.stage, total=self.config.steps, start=self.state.step):
            if self.best.enough(self.state):
                best_step = self.state.notes["best_step"]
                say(f"{self.stage}: no better validation score since step {best_step:.0f}")
                return
            yield step

    def count(self, batch: Iterable[int], loss: float, norm: Tensor, **counts: int) -> None:
        """Adds the step that was just taken to the state, the certificate and the speed."""
        self.state.step += 1
        self.certificate.add(batch, loss, norm)
        self.speed.count(**counts)

    def log_due(self) -> bool:
        """Returns whether the curves get a record after this step."""
        return self.state.step % self.config.log_steps == 0

    def log(self, values: Mapping[str, float], **not_repeatable: float) -> None:
        """Adds a record to the curves, and values that do not repeat to the speed's log."""
        self.curves.log(self.state.step, values)
        rates = self.speed.log(self.state.step, **not_repeatable)
        self.trackers.log({**values, **rates})

    def validation_due(self) -> bool:
        """Returns whether to validate after this step; always after the last one."""
        step = self.state.step
        return step % self.config.validation_steps == 0 or step == self.config.steps

    def score(self, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Takes the scores of a validation by their name, such as "accuracy", and by split.

        "mean" of the last name decides which weights are the best. Larger is better, or smaller if
        the name ends in "loss".
        """
        name, deciding = list(scores.items())[-1]
        sign = -1.0 if name.endswith("loss") else 1.0
        self.best.update(sign * deciding["mean"], self.state)
        for name, each in scores.items():
            values = {f"{name}_{split}": value for split, value in each.items()}
            self.curves.log(self.state.step, values)
            self.trackers.log(values)

    def save_if_due(self) -> None:
        """Saves the state after every `checkpoint_steps` steps."""
        if self.state.step % self.config.checkpoint_steps == 0:
            self.saver.save(self.file, self.state, self.trained, self.others)

    def end(self) -> None:
        """Closes curves and trackers, and waits until every process has ended its last step."""
        self.curves.close()
        self.trackers.close()
        self.processes.wait()

    def chosen_weights(self, score: str) -> AbstractContextManager[None]:
        """Returns a context with the weights that the stage writes: the best or the last ones."""
        notes = self.state.notes
        if self.config.checkpoint == "last" or "best_step" not in notes:
            return nullcontext()
        say(f"{self.stage}: best at step {notes['best_step']:.0f}, "
            f"{score} {abs(notes['best_score']):.3f}")  # fmt: skip
        return self.best.applied()

    def certify(self, outputs: Path) -> None:
        """Writes the certificate, then removes the state, which is no longer needed."""
        self.certificate.write(outputs)
        self.file.clear()
