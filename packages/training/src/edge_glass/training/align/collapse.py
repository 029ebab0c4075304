"""An alarm for contrastive training that learns nothing."""

from __future__ import annotations

from edge_glass.training.loop.state import RunState

_SHARE = 0.98  # of the loss of chance; a run that learns is far below within a hundred steps
_KEPT = 0.98  # of the running mean that a step leaves


class CollapseAlarm:
    """Stops a run whose loss still sits at that of embeddings that are all alike.

    That loss is ln(batch) for plain InfoNCE, and less where rows of a batch are masked.

    Args:
        steps: how many steps a run may take to get away from it.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def check(self, loss: float, chance: float, state: RunState) -> None:
        """Takes a step's loss; the running mean lives in the run's state.

        Raises:
            ValueError: where the run has collapsed.
        """
        share = loss / chance if chance > 0 else 0.0
        mean = state.notes.get("loss_share", share)
        state.notes["loss_share"] = _KEPT * mean + (1 - _KEPT) * share
        if state.step >= self.steps and state.notes["loss_share"] >= _SHARE:
            raise ValueError(
                f"align has collapsed: after {state.step} steps the loss is {loss:.3f}, and "
                f"embeddings that tell nothing apart have {chance:.3f} (ln of the candidates, "
                "weighted as the loss is): lower align's learning_rate, lengthen warmup_steps, or "
                "look whether captions belong to their pictures"
            )
