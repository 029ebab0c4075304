"""Memory of a contrastive step: gradient caching over microbatches against plain autograd.

Run:    python benchmarks/gradient_cache.py
Needs:  edge-glass-training

Both compute the gradients of two Matryoshka heads at six dims from 4096 down to 128, once. Ours is
the step of stage `align` with `gradient_cache: true`. The peer is the definition of the loss on the
whole batch with autograd, which must give the same loss. Each size runs in a separate process;
memory is its peak beyond model and inputs. The largest batch is run by gradient caching only: the
peer's similarity matrices would not fit.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor

from edge_glass.encoders.matryoshka import MatryoshkaProjection
from edge_glass.training.align.contrastive import matryoshka_loss
from edge_glass.training.align.gradient_cache import GradientCache
from edge_glass.training.align.matryoshka import MatryoshkaTerms
from edge_glass.training.engine.processes import Processes

DIMS = (4096, 2048, 1024, 512, 256, 128)
IMAGE_WIDTH, TEXT_WIDTH = 1024, 768  # CLIP ViT-L's pooled width and all-mpnet-base-v2's
MICROBATCH = 256
LIMIT = 2.0  # GiB, for the largest batch


def peak() -> float:
    """Return this process's peak resident memory in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def child(kind: str, pairs: int) -> None:
    """Take one step and print its memory, time and loss as JSON."""
    torch.manual_seed(0)
    image_head = MatryoshkaProjection(IMAGE_WIDTH, DIMS)
    text_head = MatryoshkaProjection(TEXT_WIDTH, DIMS)
    logit_scale = torch.nn.Parameter(torch.tensor(2.659))
    parameters = [*image_head.parameters(), *text_head.parameters(), logit_scale]
    images, texts = torch.randn(pairs, IMAGE_WIDTH), torch.randn(pairs, TEXT_WIDTH)
    ids, keep = torch.arange(pairs), torch.ones(pairs, dtype=torch.bool)
    terms = MatryoshkaTerms(DIMS, [1.0] * len(DIMS)).at(0)
    (image_head(images[:8]).sum() + text_head(texts[:8]).sum()).backward()  # libraries warm up
    before, start = peak(), time.perf_counter()
    if kind == "whole":
        loss = matryoshka_loss(image_head(images), text_head(texts), logit_scale, terms, ids, keep)
        torch.autograd.grad(loss, parameters)
    else:

        def embed(_: int, rows: slice) -> tuple[Tensor, Tensor]:
            return image_head(images[rows]), text_head(texts[rows])

        cache = GradientCache(
            parameters,
            logit_scale,
            batch_size=pairs,
            num_microbatches=max(1, pairs // MICROBATCH),
            recompute=True,
            processes=Processes(),
        )
        loss = cache.step(embed, terms, ids, keep).loss
    seconds = time.perf_counter() - start
    print(json.dumps({"memory": peak() - before, "seconds": seconds, "loss": loss.item()}))


def measure(kind: str, pairs: int) -> dict[str, float]:
    """Run one step in a fresh process."""
    command = [sys.executable, __file__, "--child", kind, "--pairs", str(pairs)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    print(f"{kind:8} {pairs:6} pairs  {found['memory']:6.2f} GiB  {found['seconds']:7.1f} s  "
          f"loss {found['loss']:.5f}", flush=True)  # fmt: skip
    return found


def main() -> None:
    """Compare at sizes that both can do, then measure ours at the full size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child")
    parser.add_argument("--pairs", type=int, default=16384, help="the largest batch")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.pairs)
        return
    for pairs in (1024, 4096):
        whole, cached = measure("whole", pairs), measure("cached", pairs)
        assert abs(whole["loss"] - cached["loss"]) < 1e-4 * whole["loss"]
        print(f"  memory {whole['memory'] / cached['memory']:.2f}x less, "
              f"time {cached['seconds'] / whole['seconds']:.2f}x")  # fmt: skip
    largest = measure("cached", arguments.pairs)
    verdict = "within" if largest["memory"] <= LIMIT else "NOT within"
    print(f"{arguments.pairs} pairs at {DIMS[0]} dims: {verdict} {LIMIT:g} GiB beyond the model")


if __name__ == "__main__":
    main()
