"""An exponential moving average of weights, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Keeps average <- decay * average + (1 - decay) * weight, from the weights at construction.

    The update has no counter and no warm-up: it depends on the average and the weights only, so a
    run that is resumed from `state_dict` goes on bit by bit. Buffers and frozen weights are not
    averaged. Averages are float32.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
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

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the averages into the model for the block's length, then the weights back."""
        kept = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._copy(self._average)
        try:
            yield
        finally:
            self._copy(kept)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the averages by parameter name (not copies)."""
        return dict(self._average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Loads averages.

        Raises:
            ValueError: A name is missing or unexpected, or a shape differs.
        """
        missing, unexpected = (
            self._average.keys() - state.keys(),
            state.keys() - self._average.keys(),
        )
        if missing or unexpected:
            raise ValueError(
                f"averages do not fit the model: missing {sorted(missing)}, unexpected "
                f"{sorted(unexpected)}; load the checkpoint of the same configuration"
            )
        for name, average in self._average.items():
            if state[name].shape != average.shape:
                raise ValueError(
                    f"average {name} has shape {tuple(state[name].shape)}, expected "
                    f"{tuple(average.shape)}; load the checkpoint of the same configuration"
                )
            average.copy_(state[name])

    @torch.no_grad()
    def _copy(self, source: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(source[name])
