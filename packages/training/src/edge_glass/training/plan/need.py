"""What one process of a stage needs, and what all stages add to the tensors of a step.

AdamW keeps two numbers of 4 bytes per trained weight (Loshchilov & Hutter 2019), the best weights
and an average one more each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from edge_glass.training.params import Params

HELD_OUT = 0.3  # share of images and questions in splits that are not trained on; an assumption
ADAM, BEST = 2, 1  # numbers per trained weight; `Run` keeps the best weights always


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a stage needs in one process.

    Attributes:
        rest: bytes between two steps.
        peak: bytes at the longest batch.
        at: what the peak is, if a stage has several, such as training and validation.
        flops: of the whole stage, of all processes together.
        trained: bytes of the weights that it trains.
    """

    rest: int
    peak: int
    flops: float
    trained: int = 0
    at: str = ""


def trained_bytes(model: nn.Module) -> int:
    """Returns the bytes of the weights that are trained, in float32."""
    return 4 * sum(each.numel() for each in model.parameters() if each.requires_grad)


def on_gpu(params: Params) -> bool:
    """Returns whether the plan is for a GPU."""
    return device_of(params).type != "cpu"


def device_of(params: Params) -> torch.device:
    """Returns the device that the plan is for."""
    return torch.device(params.device)


def bfloat16(enabled: bool) -> torch.autocast:
    """Returns the context of a GPU's precision: tensors without data are those of a CPU."""
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)
