"""Convolutions in float32 with the same bits on every x86-64 CPU with AVX2, and fast.

For images in the memory format `channels_last`, the kernels of oneDNN for AVX2 and AVX-512 add in
the same order, as long as there are at most 1,024 channels (more are cut differently); in the
format of torch's default they do not. A convolution of single pixels is a matrix product, for which
`portable_matmul` has an order. Whatever fits neither goes to torch's own kernel, with products by
MKL, which is slow.

This is what measurements show, not what oneDNN guarantees; a test compares instruction sets.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_CHANNELS = 1024


def install(library: torch.library.Library) -> None:
    """Replaces the convolutions of CPU tensors in this process."""
    library.impl("convolution", convolution, "CPU")


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor:
    """Computes a convolution, (B, C, H, W) -> (B, C', H', W'); arguments as of `aten`."""
    channels = x.shape[1] if x.ndim == 4 else 0
    fits = x.dtype == weight.dtype == torch.float32 and not transposed and x.numel() > 0
    whole = weight.shape[2:] == (1, 1) and groups == 1
    if fits and whole and set(stride) == {1} and not any(padding) and channels == weight.shape[1]:
        rows = F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias)
        return rows.permute(0, 3, 1, 2)
    # one channel, or one pixel, is in both formats at once
    if not fits or min(channels, x[0, 0].numel()) < 2 or channels // groups > MAX_CHANNELS:
        return torch._convolution(
            x, weight, bias, stride, padding, dilation, transposed, output_padding, groups,
            False, True, False, False,
        )  # fmt: skip
    result: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x.contiguous(memory_format=torch.channels_last),
        weight.contiguous(memory_format=torch.channels_last),
        bias, padding, stride, dilation, groups, "none", [], "",
    )  # fmt: skip
    return result
