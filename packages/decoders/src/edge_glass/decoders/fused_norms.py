"""RMS norms in one kernel on a GPU, in place of the seven of transformers.

The kernel rounds once, at its end, and the norms of transformers before they multiply by the
weight. So results differ by one rounding of their precision. On a CPU norms stay as they are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Two roundings of bfloat16, before and after the weight, are at most its epsilon. In float32 sums
# of some thousand squares in a different order differ by more.
SMALLEST_TOLERANCE = 1e-5


def fuse_norms(model: nn.Module) -> int:
    """Replaces frozen norms that compute x / rms(x) * weight; returns how many there were.

    What a norm computes is tried on random numbers: some families multiply by 1 + weight. Norms
    that are trained stay: their backward pass was not tried.
    """
    generator = torch.Generator().manual_seed(0)
    found = [each for each in model.modules() if type(each).__name__.endswith("RMSNorm")]
    fused = 0
    for norm in found:
        forward = _fused(norm)
        if forward is None:
            continue
        weight: Any = norm.weight
        x = torch.randn(4, len(weight), generator=generator).to(weight.device, weight.dtype)
        tolerance = max(torch.finfo(weight.dtype).eps, SMALLEST_TOLERANCE)
        with torch.no_grad():
            expected, computed = norm(x), forward(x)
        if expected.dtype == computed.dtype and torch.allclose(
            computed.float(), expected.float(), rtol=tolerance, atol=1e-6
        ):
            norm.forward = forward
            fused += 1
    return fused


def _fused(norm: Any) -> Any:
    """Returns the fused forward pass of a norm with a frozen weight (D,), else None."""
    epsilon = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    weight = getattr(norm, "weight", None)
    if epsilon is None or not isinstance(weight, Tensor) or weight.ndim != 1:
        return None
    if weight.requires_grad:
        return None
    return partial(_rms_norm, norm, epsilon)


def _rms_norm(norm: Any, epsilon: float, x: Tensor) -> Tensor:
    dtype = torch.promote_types(x.dtype, norm.weight.dtype)
    # autocast would compute in float32 and return it; the kernel itself adds in float32
    with torch.autocast(x.device.type, enabled=False):
        return F.rms_norm(x.to(dtype), norm.weight.shape, norm.weight.to(dtype), epsilon)
