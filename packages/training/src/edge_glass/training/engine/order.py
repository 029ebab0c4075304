"""The order of samples as a function of (seed, epoch, step), without any saved state."""

from __future__ import annotations

import torch
from torch import Tensor

from edge_glass.training.engine.determinism import generator


def fitted_batch_size(batch_size: int, num_microbatches: int, num_samples: int, stage: str) -> int:
    """Returns the largest batch size, at most the given one, that so many samples can fill.

    Raises:
        ValueError: if not even one sample is there for each microbatch.
    """
    if num_samples < num_microbatches:
        raise ValueError(
            f"{stage}: split train has {num_samples} samples for num_microbatches "
            f"{num_microbatches}, expected one or more for each: give more data, or set "
            f"{stage}'s num_microbatches and batch_size to 1"
        )
    return min(batch_size, num_samples // num_microbatches * num_microbatches)


def epoch_order(num_samples: int, *, seed: int, epoch: int) -> Tensor:
    """Returns a permutation of range(num_samples), a function of (seed, epoch) alone."""
    return torch.randperm(num_samples, generator=generator(seed, "order", epoch))


def step_batch(num_samples: int, batch_size: int, *, seed: int, step: int) -> Tensor:
    """Returns the sample numbers of a step, (batch_size,).

    Every epoch is cut into whole batches. The remainder of its permutation is left out, which
    affects different samples in each epoch.
    """
    if batch_size > num_samples:
        raise ValueError(
            f"batch_size is {batch_size}, but there are only {num_samples} samples: lower it"
        )
    per_epoch = num_samples // batch_size
    epoch, index = divmod(step, per_epoch)
    order = epoch_order(num_samples, seed=seed, epoch=epoch)
    return order[index * batch_size : (index + 1) * batch_size]
