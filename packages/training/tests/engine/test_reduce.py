"""A sum over processes in one fixed tree: its bits, and what it sends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch
from edge_glass.training.engine.processes import join_processes
from edge_glass.training.engine.reduce import TreeSum, tree_sum_over_processes

with join_processes("cpu") as processes:
    for length in (1, 3, 7, 8, 1003):
        vectors = []
        for rank in range(processes.size):
            generator = torch.Generator().manual_seed(rank)
            vectors.append(torch.randn(length, generator=generator) * 10.0 ** rank)
        tree = TreeSum()
        for vector in vectors:
            tree.add([vector])
        own = vectors[processes.rank]
        parts = tree_sum_over_processes([own[:1], own[1:].reshape(-1, 1)], processes)
        assert [each.shape for each in parts] == [(1,), (length - 1, 1)]
        found = torch.cat([each.reshape(-1) for each in parts])
        assert torch.equal(found, tree.total()[0]), (length, processes.rank)
        if processes.size == 4 and length == 1003:  # the order matters, so the test can fail
            assert not torch.equal(found, ((vectors[0] + vectors[1]) + vectors[2]) + vectors[3])
    texts = processes.gather_texts([chr(0xE9) * processes.rank] * processes.rank)
    assert texts == [[chr(0xE9) * rank] * rank for rank in range(processes.size)]
    print("equal", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_slices_have_the_bits_of_the_whole_vectors(size: int, tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, f"--nproc_per_node={size}", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("equal") == size
