"""A contrastive step at nested dims: the step of `align` against sentence-transformers' loss.

Run:    python benchmarks/matryoshka_loss.py
Needs:  edge-glass-training, sentence-transformers

Both compute the gradients of the same two heads from the same features. Ours is `GradientCache`,
the code that stage `align` runs, with the batch, dims, microbatches and `gradient_cache` of the
scales `sample` and `paper` in params.yaml, and once with the whole batch as one microbatch. The
peer embeds the whole batch and uses MatryoshkaLoss around MultipleNegativesRankingLoss in both
directions, with autograd. Both must give the same loss and gradients; then they take turns, and the
medians count. Ours also learns the temperature and masks false negatives, and its bytes do not
depend on the number of processes; the time of all that is in our figure.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from torch import Tensor, nn

from edge_glass.encoders.matryoshka import MatryoshkaProjection
from edge_glass.training.align.gradient_cache import GradientCache
from edge_glass.training.align.matryoshka import MatryoshkaTerms
from edge_glass.training.engine.processes import Processes

SCALE = 20.0  # the peer's default, a constant there


@dataclass(frozen=True, kw_only=True)
class Case:
    """A batch and how `align` cuts it."""

    name: str
    pairs: int
    widths: tuple[int, int]  # of the image and the text features that the heads read
    dims: tuple[int, ...]
    num_microbatches: int
    recompute: bool


CASES = (
    Case(
        name="sample", pairs=448, widths=(1456, 384), dims=(512, 256, 128, 64, 32, 16),
        num_microbatches=4, recompute=False,
    ),
    Case(
        name="paper", pairs=512, widths=(1024, 768), dims=(4096, 2048, 1024, 512, 256, 128),
        num_microbatches=8, recompute=True,
    ),
    Case(
        name="paper, whole batch in memory", pairs=512, widths=(1024, 768),
        dims=(4096, 2048, 1024, 512, 256, 128), num_microbatches=1, recompute=False,
    ),
)  # fmt: skip


class Embeddings(nn.Module):
    """Returns given embeddings to the peer's loss, which calls a model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def get_embedding_dimension(self) -> int:
        return self.width

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return dict(features)


def compare(case: Case, repeats: int) -> None:
    """Print one line: both medians, and the peer's as a multiple of ours."""
    torch.manual_seed(0)
    common = torch.randn(case.pairs, max(case.widths))
    images, texts = (
        common[:, :width] + 2 * torch.randn(case.pairs, width) for width in case.widths
    )
    heads = nn.ModuleList(MatryoshkaProjection(width, case.dims) for width in case.widths)
    logit_scale = nn.Parameter(torch.tensor(SCALE).log())
    parameters: list[Tensor] = [*heads.parameters(), logit_scale]
    terms = MatryoshkaTerms(case.dims, [1.0] * len(case.dims)).at(0)
    groups, keep = torch.arange(case.pairs), torch.ones(case.pairs, dtype=torch.bool)
    cache = GradientCache(
        parameters,
        logit_scale,
        batch_size=case.pairs,
        num_microbatches=case.num_microbatches,
        recompute=case.recompute,
        processes=Processes(),
    )
    model = cast(SentenceTransformer, Embeddings(case.dims[0]))
    inner = MultipleNegativesRankingLoss(
        model,
        scale=SCALE,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )
    peer = MatryoshkaLoss(model, inner, list(case.dims))

    def embed(_: int, rows: slice) -> tuple[Tensor, Tensor]:
        return heads[0](images[rows]), heads[1](texts[rows])

    def ours() -> Tensor:
        return cache.step(embed, terms, groups, keep).loss

    def theirs() -> Tensor:
        image, text = embed(0, slice(None))
        features = [{"sentence_embedding": image}, {"sentence_embedding": text}]
        loss = cast(Tensor, peer(features, torch.empty(0)))
        loss.backward()
        return loss.detach()

    def step(kind: Callable[[], Tensor]) -> tuple[float, Tensor]:
        for parameter in parameters:
            parameter.grad = None
        start = time.perf_counter()
        loss = kind()
        return time.perf_counter() - start, loss

    found = []
    for kind in (ours, theirs):  # warm-up, and the same numbers
        _, loss = step(kind)
        gradient = torch.cat([each.grad.flatten() for each in heads.parameters()])
        found.append((loss, gradient))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=0.0)
    # float32 sums in a different order
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-6)

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(repeats):
        times["ours"].append(step(ours)[0])
        times["theirs"].append(step(theirs)[0])
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"{case.name}: {case.pairs} pairs, dims {case.dims[0]} to {case.dims[-1]}, "
        f"{case.num_microbatches} microbatches: ours {medians['ours'] * 1e3:.1f} ms, "
        f"sentence-transformers {medians['theirs'] * 1e3:.1f} ms, "
        f"{medians['theirs'] / medians['ours']:.2f}x",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=21)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads")
    for case in CASES:
        compare(case, arguments.repeats)


if __name__ == "__main__":
    main()
