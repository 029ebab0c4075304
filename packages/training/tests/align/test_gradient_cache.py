"""Gradient caching: the gradients of plain autograd, and equal bytes however the work is split."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edge_glass.training.align.contrastive import matryoshka_loss
from edge_glass.training.align.gradient_cache import ContrastiveStep, GradientCache
from edge_glass.training.align.matryoshka import MatryoshkaTerms
from edge_glass.training.engine.determinism import reseed
from edge_glass.training.engine.processes import Processes, join_processes
from edge_glass.training.engine.reduce import TreeSum

TERMS = MatryoshkaTerms((8, 4), (1.0, 1.0), contrastive_weight=1.0).at(0)
B = 16


class Towers(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(12, 16), nn.Dropout(dropout), nn.Linear(16, 8))
        self.text = nn.Linear(10, 8)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))


def one_step(
    *, recompute: bool, processes: Processes, dropout: float = 0.3, num_microbatches: int = 4
) -> tuple[Towers, ContrastiveStep]:
    reseed("towers")
    towers = Towers(dropout)
    images, texts = torch.randn(B, 12), torch.randn(B, 10)
    ids, keep = torch.arange(B) // 2 * 2, torch.arange(B) % 5 != 0

    def embed(microbatch: int, rows: slice) -> tuple[Tensor, Tensor]:
        reseed("noise", microbatch)
        return towers.image(images[rows]), towers.text(texts[rows])

    cache = GradientCache(
        list(towers.parameters()),
        towers.logit_scale,
        batch_size=B,
        num_microbatches=num_microbatches,
        recompute=recompute,
        processes=processes,
    )
    return towers, cache.step(embed, TERMS, ids, keep)


def gradients(towers: Towers) -> bytes:
    return b"".join(p.grad.numpy().tobytes() for p in towers.parameters() if p.grad is not None)


def test_the_gradients_are_those_of_plain_autograd() -> None:
    towers, step = one_step(recompute=True, processes=Processes(), dropout=0.0)
    found = [parameter.grad for parameter in towers.parameters()]
    reseed("towers")
    plain = Towers(0.0)
    images, texts = torch.randn(B, 12), torch.randn(B, 10)
    ids, keep = torch.arange(B) // 2 * 2, torch.arange(B) % 5 != 0
    loss = matryoshka_loss(
        plain.image(images), plain.text(texts), plain.logit_scale, TERMS, ids, keep
    )
    expected = torch.autograd.grad(loss, list(plain.parameters()))
    # float32: the microbatches' gradients are added in a different order
    torch.testing.assert_close(step.loss, loss.detach(), rtol=1e-6, atol=1e-6)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_embedding_twice_or_keeping_the_graphs_gives_equal_bytes() -> None:
    twice, _ = one_step(recompute=True, processes=Processes())
    kept, _ = one_step(recompute=False, processes=Processes())
    assert gradients(twice) == gradients(kept)
    other, _ = one_step(recompute=False, processes=Processes(), num_microbatches=2)
    assert gradients(other) != gradients(kept)  # the number of microbatches is a parameter


def work(folder: str) -> None:
    """What each of the processes that torchrun starts does."""
    torch.set_num_threads(1)
    with join_processes("cpu") as processes:
        towers, _ = one_step(recompute=True, processes=processes)
        Path(folder, str(processes.rank)).write_bytes(gradients(towers))


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_more_processes_give_the_bytes_of_one(size: int, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*torchrun, f"--nproc_per_node={size}", __file__, str(tmp_path)],
        env=environment,
        check=True,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone, _ = one_step(recompute=True, processes=Processes())
    finally:
        torch.set_num_threads(threads)
    for rank in range(size):
        assert (tmp_path / str(rank)).read_bytes() == gradients(alone)


def test_more_processes_than_microbatches_are_refused() -> None:
    with pytest.raises(ValueError, match="4 microbatches can't be divided among 8 processes"):
        Processes(rank=0, size=8).own_microbatches(4)


def test_a_tree_sum_is_the_sum_in_one_fixed_order() -> None:
    torch.manual_seed(0)
    leaves = [torch.randn(50) * 10**power for power in range(-4, 4)]
    tree = TreeSum()
    for leaf in leaves:
        tree.add([leaf])
    a, b, c, d, e, f, g, h = leaves
    (total,) = tree.total()
    assert torch.equal(total, ((a + b) + (c + d)) + ((e + f) + (g + h)))
    incomplete = TreeSum()
    for leaf in leaves[:3]:
        incomplete.add([leaf])
    with pytest.raises(ValueError, match="power of two"):
        incomplete.total()


if __name__ == "__main__":
    work(sys.argv[1])
