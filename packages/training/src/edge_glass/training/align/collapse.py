"""An alarm for contrastive training that does not learn."""

from __future__ import annotations

from edge_glass.training.loop.state import RunState

_SHARE = 0.98  # of the loss at chance; a run that learns is far below within a hundred steps
_KEPT = 0.98  # share of the running mean that remains after a step


class CollapseAlarm:
    """Stops a run if its loss is still that of embeddings that are all alike.

    This loss at chance is ln(batch) for plain InfoNCE, and less if rows of a batch are masked.

    Args:
        steps: a run may stay at chance for so many steps.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def check(self, loss: float, chance: float, state: RunState) -> None:
        """Adds a step's loss to the running mean, which is part of the run's state.

        Raises:
            ValueError: if the run has collapsed.
        """
        share = loss / chance if chance > 0 else 0.0
        mean = state.notes.get("loss_share", share)
        state.notes["loss_share"] = _KEPT * mean + (1 - _KEPT) * share
        if state.step >= self.steps and state.notes["loss_share"] >= _SHARE:
            raise ValueError(
                f"align has collapsed: after {state.step} steps the loss is {loss:.3f}, still at "
                f"chance ({chance:.3f}, the weighted ln of the number of candidates): lower "
                "align's learning_rate, lengthen warmup_steps, or check that captions match their "
                "images"
            )
