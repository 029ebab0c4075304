"""Matrix products in float32 with the same bits on every x86-64 CPU with AVX2, and fast.

torch calls MKL for them, whose sums depend on the CPU: each instruction set adds in its own order,
and the one order that MKL guarantees everywhere (`MKL_CBWR=COMPATIBLE`) is four to five times
slower. The kernels of oneDNN for AVX2 and AVX-512 both add the terms of a product one by one, by
fused multiply-add, as long as there are at most 512 terms (longer sums are cut differently). So a
longer product is computed here as a sum of pieces of 512 terms, added from first to last. The bits
of a row therefore do not depend on other rows either.

This is what measurements show, not what oneDNN guarantees; tests check it between instruction sets,
thread counts and emulated CPUs. The CPU kernels of `aten::mm` and `aten::addmm` are replaced, which
linear layers use forward and backward. Other products (batched ones in attention) remain with MKL.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from edge_glass.training.engine import portable_convolution

MAX_TERMS = 512

_library: torch.library.Library | None = None


def install() -> None:
    """Replaces products and convolutions of CPU tensors in this process, once."""
    global _library
    if _library is not None:
        return
    with warnings.catch_warnings():
        # torch warns that a kernel is replaced, which is the purpose here
        warnings.filterwarnings("ignore", message="(?s).*Overriding a previously registered kernel")
        library = torch.library.Library("aten", "IMPL")
        library.impl("mm", mm, "CPU")
        library.impl("addmm", addmm, "CPU")
        portable_convolution.install(library)
    _library = library


def mm(a: Tensor, b: Tensor) -> Tensor:
    """Computes a b, (M, K) x (K, N) -> (M, N)."""
    if _fits(a, b):
        return _product(a, b, None)
    return torch.mm(a, b, out=a.new_empty(a.shape[0], b.shape[1]))


def addmm(c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Computes beta c + alpha a b; c is (M, N), or broadcasts to it, as a bias (N,) does."""
    if not (_fits(a, b) and c.dtype == torch.float32 and alpha == beta == 1):
        return torch.addmm(c, a, b, beta=beta, alpha=alpha, out=a.new_empty(a.shape[0], b.shape[1]))
    if c.shape == (b.shape[1],):
        return _product(a, b, c)
    return _product(a, b, None) + c


def _fits(a: Tensor, b: Tensor) -> bool:
    # wrong shapes go to the kernel of torch, which has the familiar error messages
    return (
        a.dtype == b.dtype == torch.float32
        and a.ndim == b.ndim == 2
        and a.shape[1] == b.shape[0]
        and a.numel() > 0
        and b.numel() > 0
    )


def _product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    # a single row or column has a special kernel, which adds in a different order
    if a.shape[0] == 1:
        return _product(a.expand(2, -1).contiguous(), b, bias)[:1]
    if b.shape[1] == 1:
        return _product(a, b.expand(-1, 2), bias if bias is None else bias.expand(2))[:, :1]
    if bias is None and _swapped_is_faster(a, b):
        return _product(b.t(), a.t(), None).t().contiguous()
    terms, columns = a.shape[1], b.t()
    if terms <= MAX_TERMS:
        return _linear(a, columns, bias)
    total = _linear(a[:, :MAX_TERMS], columns[:, :MAX_TERMS], bias)
    for start in range(MAX_TERMS, terms, MAX_TERMS):
        piece = slice(start, start + MAX_TERMS)
        total += _linear(a[:, piece], columns[:, piece], None)
    return total


def _swapped_is_faster(a: Tensor, b: Tensor) -> bool:
    """Whether (b' a')' takes less time than a b, with the same bits: of some weights' gradients.

    oneDNN copies a transposed first matrix. The swapped product copies b and the result in its
    place.
    """
    (m, k), n = a.shape, b.shape[1]
    return _is_transposed(a) and _is_transposed(b.t()) and n * k + m * n < m * k


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(
        _dense(x), _dense(weight), bias, "none", [], ""
    )
    return result


def _dense(x: Tensor) -> Tensor:
    # oneDNN reads a transposed matrix directly; for any other view its kernel is 500 times slower
    return x if x.is_contiguous() or _is_transposed(x) else x.contiguous()


def _is_transposed(x: Tensor) -> bool:
    return x.t().is_contiguous()
