"""Which weights are kept as the best."""

from __future__ import annotations

import math

import torch

from edge_glass.training.loop.best import Best
from edge_glass.training.loop.state import RunState


def test_a_score_that_is_not_a_number_is_worse_than_any() -> None:
    weight, state = torch.zeros(1), RunState()
    best = Best({"weight": weight}, patience=2)
    for step, score in enumerate((math.nan, 0.3, math.nan, 0.3), start=1):
        state.step = step
        weight.fill_(step)
        best.update(score, state)
    assert (state.notes["best_score"], state.notes["best_step"]) == (0.3, 4.0)
    assert best.kept["weight"].item() == 4
    assert best.enough(state)  # an equal score is not a better one
