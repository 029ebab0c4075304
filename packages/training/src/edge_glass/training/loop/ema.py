"""An exponential moving average of weights, for evaluation."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from edge_glass.training.loop.swap import swapped


class ExponentialMovingAverage:
    """Keeps average <- decay * average + (1 - decay) * weight, starting from the current weights.

    The update has no counter and no warm-up. It depends on the average and the weights only, so a
    run that restores its averages in place continues bit by bit. Buffers and frozen weights are not
    averaged. Averages are float32.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay is {decay}, expected 0 <= decay < 1")
        self.decay = decay
        self._weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._average = {n: p.detach().float().clone() for n, p in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the weights; call it after each optimizer step."""
        averages = list(self._average.values())
        weights = [p.detach().float() for p in self._weights.values()]
        torch._foreach_lerp_(averages, weights, 1.0 - self.decay)

    @torch.no_grad()
    def restart(self) -> None:
        """Begins again from the current weights."""
        for name, weight in self._weights.items():
            self._average[name].copy_(weight)

    def applied(self) -> AbstractContextManager[None]:
        """Returns a context in which the model's weights are the averages."""
        return swapped(self._weights, self._average)

    def averages(self) -> dict[str, Tensor]:
        """Returns the averages themselves (not copies) by parameter name."""
        return dict(self._average)
