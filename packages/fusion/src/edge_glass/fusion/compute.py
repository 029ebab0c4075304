"""The precision in which a vision-language model computes: one rule for training and answers."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def compute_dtype(device: torch.device, base: torch.dtype) -> torch.dtype:
    """Returns the precision of matrix products on a device for a decoder of a precision.

    A GPU computes in bfloat16. A CPU computes in the precision of the decoder's base weights: a
    bfloat16 base gives bfloat16 words, which the float32 layers of a fusion can't multiply.
    """
    return torch.bfloat16 if device.type == "cuda" else base


def autocast(device: torch.device, base: torch.dtype) -> AbstractContextManager[object]:
    """Returns a context that computes in `compute_dtype(device, base)`; weights stay as they are.

    The bfloat16 modes of a module or of DeepSpeed would round the norms and the projector too.
    """
    enabled = compute_dtype(device, base) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
