"""The weights of the best validation score so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from edge_glass.training.loop.state import RunState


class Best:
    """Keeps a copy of the weights at the best score; score and patience live in the run's state.

    Args:
        tensors: the weights that training changes in place.
        patience: how many scores without a better one are enough; None for no limit.
    """

    def __init__(self, tensors: Mapping[str, Tensor], patience: int | None) -> None:
        self.tensors = dict(tensors)
        self.kept = {name: value.detach().clone() for name, value in tensors.items()}
        self.patience = patience

    def saved(self) -> dict[str, Tensor]:
        """Returns what a state must hold besides the weights; restored in place."""
        return {f"best.{name}": value for name, value in self.kept.items()}

    def update(self, score: float, state: RunState) -> None:
        """Takes a score at the state's step; only a higher one replaces the kept weights."""
        if score > state.notes.get("best_score", float("-inf")):
            state.notes.update(best_score=score, best_step=float(state.step), scores_since_best=0.0)
            self._copy(self.kept, self.tensors)
        else:
            state.notes["scores_since_best"] += 1

    def enough(self, state: RunState) -> bool:
        """Tells whether to stop early."""
        return self.patience is not None and (
            state.notes.get("scores_since_best", 0.0) >= self.patience
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the best weights in place for a moment, to save them."""
        last = {name: value.detach().clone() for name, value in self.tensors.items()}
        self._copy(self.tensors, self.kept)
        try:
            yield
        finally:
            self._copy(self.tensors, last)

    @staticmethod
    def _copy(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in target.items():
                value.copy_(source[name])
