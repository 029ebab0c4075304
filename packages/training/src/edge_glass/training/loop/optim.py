"""AdamW with parameter groups, and a schedule that is a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge_glass.encoders.limits import check_at_least, check_positive, check_share


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay.

    Attributes:
        learning_rate: peak rate.
        weight_decay: of matrices only, not of norms and biases.
        warmup_steps: steps in which the rate rises linearly.
        max_grad_norm: longer gradients are scaled down to this norm.
        beta2: decay of the second moment.
    """

    learning_rate: float
    weight_decay: float
    warmup_steps: int
    max_grad_norm: float = 1.0
    beta2: float = 0.98

    def __post_init__(self) -> None:
        check_positive(self, "learning_rate", "max_grad_norm")
        check_at_least(self, 0, "weight_decay", "warmup_steps")
        check_share(self, "beta2")


def learning_rate_factor(step: int, *, steps: int, warmup_steps: int) -> float:
    """Returns the share of the peak rate at a step: linear warm-up, then cosine to 0.

    Source: Loshchilov & Hutter 2017, "SGDR", equation 5, with one period.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def build_adamw(
    groups: Iterable[tuple[nn.Module | nn.Parameter, float]], config: OptimConfig
) -> torch.optim.AdamW:
    """Returns AdamW over modules (or single parameters), each with its own peak rate.

    Matrices decay; norms, biases and other vectors do not. The fused kernel is used because its
    square roots are the same on every CPU. Each group keeps its peak rate as `peak_lr`.
    """
    param_groups: list[dict[str, object]] = []
    seen: set[int] = set()
    for owner, rate in groups:
        parameters = [owner] if isinstance(owner, nn.Parameter) else list(owner.parameters())
        fresh = [each for each in parameters if each.requires_grad and id(each) not in seen]
        seen.update(map(id, fresh))
        for decays in (True, False):
            chosen = [each for each in fresh if (each.ndim >= 2) == decays]
            if chosen:
                decay = config.weight_decay if decays else 0.0
                param_groups.append(
                    {"params": chosen, "lr": rate, "peak_lr": rate, "weight_decay": decay}
                )
    return torch.optim.AdamW(param_groups, betas=(0.9, config.beta2), fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group's rate to its peak times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def clip_gradients(parameters: Iterable[Tensor], max_norm: float, where: str) -> Tensor:
    """Scales all gradients to a common norm of at most `max_norm`; returns the norm before, ()."""
    norm = nn.utils.clip_grad_norm_(list(parameters), max_norm)
    if not torch.isfinite(norm):
        raise ValueError(
            f"{where}: the gradient's norm is {norm.item()}, expected a finite number: lower "
            "learning_rate, or check the data of this step (set encode's dtype to float32 if the "
            "features of the encoder overflow float16)"
        )
    return norm
