"""Products with the same bits for every instruction set and number of threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_glass.training.engine import portable_matmul

# M, K, N: of linear layers forward and backward, odd ones, one term, more terms than a piece has
SHAPES = [
    (264, 192, 576),
    (576, 264, 192),
    (7, 1, 33),
    (1, 512, 100),
    (33, 513, 77),
    (64, 1456, 96),
]


def remove() -> None:
    """Restores the products of torch, so that other tests get them."""
    if portable_matmul._library is not None:
        portable_matmul._library._destroy()
        portable_matmul._library = None


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    threads = torch.get_num_threads()
    portable_matmul.install()
    yield
    remove()
    torch.set_num_threads(threads)


def matrices(m: int, k: int, n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(m + k + n)
    return torch.randn(m, k, generator=generator), torch.randn(k, n, generator=generator)


def in_order(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One fused multiply-add after another, from the first term to the last, in float32.

    float64 holds a product of two float32 whole, so that only the sum is rounded: to 53 bits, then
    to 24. Rounding twice differs from rounding once in about one of 2^29 cases.
    """
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for term in range(a.shape[1]):
        product = np.outer(a[:, term].astype(np.float64), b[term].astype(np.float64))
        total = (total + product).astype(np.float32)
    return total


@pytest.mark.parametrize(
    "shape", [(5, 1, 7), (1, 400, 30), (33, 100, 17), (16, 512, 48), (20, 300, 1)]
)
def test_terms_are_added_one_after_another(shape: tuple[int, int, int]) -> None:
    a, b = matrices(*shape)
    assert np.array_equal((a @ b).numpy(), in_order(a.numpy(), b.numpy()))


def test_a_longer_product_is_the_sum_of_its_pieces() -> None:
    a, b = matrices(9, 1300, 11)
    pieces = [
        torch.from_numpy(in_order(a[:, part].numpy(), b[part].numpy()))
        for part in (slice(512), slice(512, 1024), slice(1024, 1300))
    ]
    assert torch.equal(a @ b, pieces[0] + pieces[1] + pieces[2])


@pytest.mark.parametrize("shape", SHAPES)
def test_products_and_gradients_are_right(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    x, weight = matrices(m, k, n)
    weight = weight.t().contiguous().requires_grad_()
    x.requires_grad_()
    bias = torch.randn(n, requires_grad=True)
    y = F.linear(x, weight, bias)
    expected = x.double() @ weight.double().t() + bias.double()
    # float32 keeps 24 bits; K terms of size one, one rounding each
    tolerance = {"rtol": 1e-5, "atol": k * 2.0**-22}
    torch.testing.assert_close(y.double(), expected, **tolerance)
    pull = torch.randn(m, n)
    found = torch.autograd.grad(y, (x, weight, bias), pull)
    wanted = torch.autograd.grad(expected, (x, weight, bias), pull.double())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=max(m, n) * 2.0**-20)


@pytest.mark.parametrize("shape", [(40, 600, 30), (30, 600, 40)])
def test_any_layout_gives_the_same_bits(shape: tuple[int, int, int]) -> None:
    a, b = matrices(*shape)
    wide = torch.randn(shape[0], 1200)
    wide[:, ::2] = a
    expected = a @ b
    for left in (a, a.t().contiguous().t(), wide[:, ::2]):
        for right in (b, b.t().contiguous().t()):
            assert torch.equal(left @ right, expected)
            assert (left @ right).is_contiguous()
    a, b = matrices(40, 600, 30)
    rows = torch.ones(1, 600).expand(40, 600)
    assert torch.equal(rows @ b, rows.contiguous() @ b)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_is_the_same_alone(shape: tuple[int, int, int]) -> None:
    a, b = matrices(*shape)
    assert torch.equal(torch.cat([row[None] @ b for row in a[:9]]), (a @ b)[:9])


@pytest.mark.parametrize("shape", SHAPES)
def test_threads_change_nothing(shape: tuple[int, int, int]) -> None:
    a, b = matrices(*shape)
    torch.set_num_threads(1)
    one = a @ b
    torch.set_num_threads(2)
    assert torch.equal(a @ b, one)


def test_what_does_not_fit_goes_to_torch() -> None:
    a, b = matrices(3, 4, 5)
    assert torch.equal(a.double() @ b.double(), torch.matmul(a.double(), b.double()))
    assert (a[:0] @ b).shape == (0, 5)
    assert torch.equal(a[:, :0] @ b[:0], torch.zeros(3, 5))
    assert torch.equal(a.int() @ b.int(), (a.int()[:, :, None] * b.int()).sum(1))
    c = torch.randn(3, 5)
    torch.testing.assert_close(torch.addmm(c, a, b, beta=2, alpha=3), 2 * c + 3 * (a @ b))
    torch.testing.assert_close(torch.addmm(c, a, b), c + a @ b)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        torch.mm(a, a)


def test_installing_changes_the_order_of_sums() -> None:
    remove()
    a, b = matrices(33, 700, 17)
    own = a @ b
    portable_matmul.install()
    portable_matmul.install()
    assert not torch.equal(a @ b, own)  # a different order
    remove()
    assert torch.equal(a @ b, own)


DIGEST = """
import hashlib, torch
from edge_glass.training.engine import portable_matmul
portable_matmul.install()
generator, digest = torch.Generator().manual_seed(0), hashlib.sha256()
for case in range(240):
    high = ((400, 1200, 400), (3, 600, 100), (100, 600, 3))[case % 3]
    m, k, n = (int(torch.randint(1, each, (1,), generator=generator)) for each in high)
    a, b = torch.randn(m, k, generator=generator), torch.randn(k, n, generator=generator)
    if case % 2:
        b = b.t().contiguous().t()
    digest.update((a @ b).numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="this CPU has no AVX-512"
)
def test_avx2_gives_the_bits_of_avx512() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"ONEDNN_MAX_CPU_ISA": isa},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for isa in ("AVX2", "AVX512_CORE", "DEFAULT")
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == hashlib.sha256().digest_size * 2
