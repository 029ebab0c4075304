"""Convolutions with the same bits for every instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F

from edge_glass.training.engine import portable_matmul

# channels in and out, kernel, stride, groups, side: patches of a transformer, a stem, depthwise
# filters, pixels, squeezed maps; then what goes to torch: one channel, many channels
SHAPES = [
    (3, 40, 14, 14, 1, 28),
    (3, 32, 3, 2, 1, 32),
    (32, 32, 5, 1, 32, 16),
    (1300, 24, 1, 1, 1, 4),
    (96, 8, 1, 1, 1, 1),
    (24, 24, 3, 2, 3, 8),
    (1, 8, 3, 1, 1, 8),
    (1100, 4, 3, 1, 1, 4),
]


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    portable_matmul.install()
    yield
    assert portable_matmul._library is not None
    portable_matmul._library._destroy()
    portable_matmul._library = None


@pytest.mark.parametrize("shape", SHAPES)
def test_convolutions_and_gradients_are_right(shape: tuple[int, ...]) -> None:
    channels, width, kernel, stride, groups, side = shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, side, side, generator=generator).requires_grad_()
    weight = torch.randn(width, channels // groups, kernel, kernel, generator=generator)
    weight.requires_grad_()
    bias = torch.randn(width, generator=generator)
    options = {"stride": stride, "padding": kernel // 2 if kernel < 14 else 0, "groups": groups}
    found = F.conv2d(x, weight, bias, **options)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), **options)
    # float32 keeps 24 bits; one rounding per term of size one
    tolerance = {"rtol": 1e-5, "atol": weight[0].numel() * 2.0**-22}
    torch.testing.assert_close(found.double(), expected, **tolerance)
    pull = torch.ones_like(found)
    for one, other in zip(
        torch.autograd.grad(found, (x, weight), pull),
        torch.autograd.grad(expected, (x, weight), pull.double()),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def test_other_convolutions_go_to_torch() -> None:
    x, weight = torch.randn(2, 6, 9), torch.randn(4, 6, 3)
    assert F.conv1d(x.double(), weight.double()).dtype == torch.float64
    torch.testing.assert_close(
        F.conv1d(x, weight).double(), F.conv1d(x.double(), weight.double()), rtol=1e-5, atol=1e-5
    )
    assert F.conv_transpose1d(x, torch.randn(6, 2, 3)).shape == (2, 2, 11)
    assert F.conv2d(torch.empty(0, 3, 8, 8), torch.randn(5, 3, 3, 3)).shape == (0, 5, 6, 6)
    with pytest.raises(RuntimeError, match="to have 6 channels"):
        F.conv2d(torch.randn(1, 5, 8, 8), torch.randn(4, 6, 1, 1))


DIGEST = """
import hashlib, torch
from edge_glass.training.engine import portable_matmul
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
portable_matmul.install()
torch.backends.mkldnn.set_flags(_enabled=False)
generator, digest = torch.Generator().manual_seed(0), hashlib.sha256()
for channels, width, kernel, stride, groups, side in SHAPES:
    x = torch.randn(3, channels, side, side, generator=generator)
    weight = torch.randn(width, channels // groups, kernel, kernel, generator=generator)
    y = torch.nn.functional.conv2d(x, weight, None, stride, kernel % 14 // 2, groups=groups)
    digest.update(y.contiguous().numpy().tobytes())
for size in (64, 256):
    encoder = EfficientNetLite0Config(layers=("stage1", "stage4", "head"), fold=False).build(size)
    with torch.inference_mode():
        digest.update(encoder(torch.randn(5, 3, size, size, generator=generator)).numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="this CPU has no AVX-512"
)
def test_avx2_convolves_to_the_bits_of_avx512() -> None:
    variables = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}
    found = {
        subprocess.run(
            [sys.executable, "-c", f"SHAPES = {SHAPES}\n{DIGEST}"],
            env=os.environ | variables | {"ONEDNN_MAX_CPU_ISA": isa},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for isa in ("AVX2", "AVX512_CORE", "DEFAULT")
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == 64
