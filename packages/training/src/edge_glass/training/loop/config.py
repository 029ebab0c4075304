"""The options that all training stages share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_glass.encoders.limits import check_at_least
from edge_glass.training.engine.reduce import is_power_of_two
from edge_glass.training.loop.optim import OptimConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long a stage trains, how a batch is cut, and when it logs, saves and validates.

    Attributes:
        steps: optimizer steps.
        batch_size: samples per step, of all processes together.
        num_microbatches: parts of a batch, a power of two. At most so many processes share a step.
        optim: the optimizer.
        log_steps: number of steps between two records of the curves.
        checkpoint_steps: number of steps between two saved states, from which a run can resume.
        certificate_steps: number of steps between two hashes of the weights in the certificate.
        validation_steps: number of steps between two scores on the validation splits; 0 for none.
        patience: training stops after so many scores without a better one; None trains all steps.
        checkpoint: which weights the stage writes: those of the `best` score or the `last` ones.
    """

    steps: int
    batch_size: int
    num_microbatches: int = 1
    optim: OptimConfig
    log_steps: int
    checkpoint_steps: int
    certificate_steps: int = 50
    validation_steps: int = 0
    patience: int | None = None
    checkpoint: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        check_at_least(
            self, 1, "steps", "batch_size", "log_steps", "checkpoint_steps", "certificate_steps",
            "patience",
        )  # fmt: skip
        check_at_least(self, 0, "validation_steps")
        if not is_power_of_two(self.num_microbatches) or self.batch_size % self.num_microbatches:
            raise ValueError(
                f"num_microbatches is {self.num_microbatches} and batch_size is {self.batch_size}: "
                "expected a power of two that divides the batch, such as 1, 2, 4 or 8; change one "
                "of them"
            )
        if self.optim.warmup_steps > self.steps:
            raise ValueError(
                f"optim.warmup_steps is {self.optim.warmup_steps} and steps is {self.steps}: "
                "expected a warm-up that is not longer than the training; change one of them"
            )
