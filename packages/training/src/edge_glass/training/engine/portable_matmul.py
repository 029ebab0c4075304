"""Matrix products in float32 that have the same bits on every x86-64 CPU with AVX2, and stay fast.

torch hands them to MKL, whose sums depend on the CPU: each instruction set adds in an order of its
own, and the one order that MKL promises everywhere (`MKL_CBWR=COMPATIBLE`) is four to five times
slower. oneDNN's kernels for AVX2 and AVX-512 both add a product's terms one after another, by fused
multiply-add, as long as there are no more than 512 of them (from 513 on they cut them differently):
so a longer product is the sum of pieces of 512, added from first to last. A row's bits therefore
depend on no other row either.

That is what was found, not what oneDNN promises; tests hold it between instruction sets, thread
counts and emulated CPUs. `aten::mm` and `aten::addmm` of the CPU are replaced, through which linear
layers go forward and backward. All else (batched products in attention, say) stays with MKL.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

MAX_TERMS = 512

_library: torch.library.Library | None = None


def install() -> None:
    """Replaces the products of CPU matrices in this process, once."""
    global _library
    if _library is not None:
        return
    with warnings.catch_warnings():
        # it says that a kernel is replaced, which is the purpose
        warnings.filterwarnings("ignore", message="(?s).*Overriding a previously registered kernel")
        library = torch.library.Library("aten", "IMPL")
        library.impl("mm", mm, "CPU")
        library.impl("addmm", addmm, "CPU")
    _library = library


def remove() -> None:
    """Brings torch's own products back."""
    global _library
    if _library is not None:
        _library._destroy()
        _library = None


def mm(a: Tensor, b: Tensor) -> Tensor:
    """Computes a b, (M, K) x (K, N) -> (M, N)."""
    if _fits(a, b):
        return _product(a, b, None)
    return torch.mm(a, b, out=a.new_empty(a.shape[0], b.shape[1]))


def addmm(c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Computes beta c + alpha a b; c (M, N) or what broadcasts to it, such as a bias (N,)."""
    if not (_fits(a, b) and c.dtype == torch.float32 and alpha == beta == 1):
        return torch.addmm(c, a, b, beta=beta, alpha=alpha, out=a.new_empty(a.shape[0], b.shape[1]))
    if c.shape == (b.shape[1],):
        return _product(a, b, c)
    return _product(a, b, None) + c


def _fits(a: Tensor, b: Tensor) -> bool:
    # wrong shapes go to torch's own kernel, whose errors people know
    return (
        a.dtype == b.dtype == torch.float32
        and a.ndim == b.ndim == 2
        and a.shape[1] == b.shape[0]
        and a.numel() > 0
        and b.numel() > 0
    )


def _product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    # one row, or one column, has a kernel of its own, with another order
    if a.shape[0] == 1:
        return _product(a.expand(2, -1).contiguous(), b, bias)[:1]
    if b.shape[1] == 1:
        return _product(a, b.expand(-1, 2), bias if bias is None else bias.expand(2))[:, :1]
    terms, columns = a.shape[1], b.t()
    if terms <= MAX_TERMS:
        return _linear(a, columns, bias)
    total = _linear(a[:, :MAX_TERMS], columns[:, :MAX_TERMS], bias)
    for start in range(MAX_TERMS, terms, MAX_TERMS):
        piece = slice(start, start + MAX_TERMS)
        total += _linear(a[:, piece], columns[:, piece], None)
    return total


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(
        _dense(x), _dense(weight), bias, "none", [], ""
    )
    return result


def _dense(x: Tensor) -> Tensor:
    # oneDNN takes a transposed matrix as it is; for a cut-out one it has a kernel, 500 times slower
    return x if x.is_contiguous() or x.t().is_contiguous() else x.contiguous()
