"""Matryoshka loss, forward and backward: ours against sentence-transformers.

Run:    python benchmarks/matryoshka_loss.py
Needs:  edge-glass-training, sentence-transformers

Both directions are counted on both sides. Both get the same embeddings and must give the same loss
and gradients; then they take turns, and the medians count. Ours also learns the temperature and
masks duplicates, which the peer does not: the time of both is in our figure.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import cast

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    MatryoshkaLoss as PeerMatryoshkaLoss,
)
from sentence_transformers.sentence_transformer.losses import (
    MultipleNegativesSymmetricRankingLoss,
)
from torch import Tensor, nn

from edge_glass.training.align.matryoshka import MatryoshkaLoss

SCALE = 20.0  # the peer's default, a constant there
SAMPLE = (1024, [512, 256, 128, 64, 32, 16])
PAPER = (1024, [4096, 2048, 1024, 512, 256, 128])
TARGET = 2.0


class Embeddings(nn.Module):
    """Hands given embeddings to the peer's loss, which calls a model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def get_embedding_dimension(self) -> int:
        return self.width

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return dict(features)


def compare(rows: int, dims: list[int], repeats: int) -> float:
    """Print one line; return the peer's median time as a multiple of ours."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(rows, dims[0], generator=generator)
    image, text = (
        (common + 2 * torch.randn(rows, dims[0], generator=generator)).requires_grad_()
        for _ in range(2)
    )
    logit_scale = torch.tensor(SCALE).log().requires_grad_()
    ids = torch.arange(rows)
    objective = MatryoshkaLoss(dims)
    model = cast(SentenceTransformer, Embeddings(dims[0]))
    peer = PeerMatryoshkaLoss(model, MultipleNegativesSymmetricRankingLoss(model, SCALE), dims)

    def ours() -> Tensor:
        return objective(image, text, logit_scale, ids, ids)

    def theirs() -> Tensor:
        features = [{"sentence_embedding": image}, {"sentence_embedding": text}]
        return cast(Tensor, peer(features, torch.empty(0)))

    def step(loss: Callable[[], Tensor]) -> float:
        image.grad = text.grad = logit_scale.grad = None
        start = time.perf_counter()
        loss().backward()
        return time.perf_counter() - start

    gradients = []
    for loss in (ours, theirs):  # warm-up, and the same numbers
        step(loss)
        assert image.grad is not None
        assert text.grad is not None
        gradients.append(torch.cat([image.grad, text.grad]))
    torch.testing.assert_close(ours(), theirs(), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-8)

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(repeats):
        times["ours"].append(step(ours))
        times["theirs"].append(step(theirs))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["theirs"] / medians["ours"]
    print(
        f"batch {rows}, dims {dims[0]}..{dims[-1]}: ours {medians['ours'] * 1e3:.1f} ms, "
        f"sentence-transformers {medians['theirs'] * 1e3:.1f} ms, {ratio:.2f}x (target {TARGET}x)"
    )
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=21)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads")
    for rows, dims in (SAMPLE, PAPER):
        compare(rows, dims, arguments.repeats)


if __name__ == "__main__":
    main()
