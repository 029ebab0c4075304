"""The weights of the best validation score so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager

from torch import Tensor

from edge_glass.training.loop.state import RunState
from edge_glass.training.loop.swap import copy_into, swapped


class Best:
    """Keeps a copy of the weights at the best score; the score itself is in the run's state.

    Args:
        tensors: the weights that training changes in place.
        patience: training stops after so many scores without a better one; None for no limit.
    """

    def __init__(self, tensors: Mapping[str, Tensor], patience: int | None) -> None:
        self.tensors = dict(tensors)
        self.kept = {name: value.detach().clone() for name, value in tensors.items()}
        self.patience = patience

    def saved(self) -> dict[str, Tensor]:
        """Returns the kept weights by the names of a saved state, which is restored in place."""
        return {f"best.{name}": value for name, value in self.kept.items()}

    def update(self, score: float, state: RunState) -> None:
        """Adds the score of the state's step; of equal scores the later weights are kept.

        An equal score is not a better one, so it does not delay an early stop. A loss that is not a
        number is worse than any score.
        """
        score = float("-inf") if math.isnan(score) else score
        best = state.notes.get("best_score", float("-inf"))
        if score > best:
            state.notes["scores_since_best"] = 0.0
        else:
            state.notes["scores_since_best"] = state.notes.get("scores_since_best", 0.0) + 1
        if score >= best:
            state.notes.update(best_score=score, best_step=float(state.step))
            copy_into(self.kept, self.tensors)

    def enough(self, state: RunState) -> bool:
        """Returns whether to stop early."""
        return self.patience is not None and (
            state.notes.get("scores_since_best", 0.0) >= self.patience
        )

    def applied(self) -> AbstractContextManager[None]:
        """Returns a context in which the weights are the best ones."""
        return swapped(self.tensors, self.kept)
