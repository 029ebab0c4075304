"""Recall at k for 20,000 pairs: rank counting in blocks against argsort and faiss (flat).

Run:    python benchmarks/recall_at_k.py
Needs:  edge-glass-training, faiss-cpu

Each way answers both directions, R@1, R@5 and R@10, from the same embeddings, in a process of its
own so that its peak memory is its own; all must agree. They take turns, and the medians count;
argsort, which takes a minute or more, runs once.

Memory stays bounded: `--pairs 100000 --only ours` ranks 100,000 x 100,000 both ways (its scores
would be 40 GB), and with `--queries 10000` a slice of the queries against all candidates.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

KS = (1, 5, 10)
WIDTH = 512
KEYS = ("seconds", "cpu", "memory", "peak")
TARGETS = {"argsort": "12x faster, 20x less memory", "faiss": "no slower"}

Floats = NDArray[np.float32]


def embeddings(pairs: int) -> tuple[Floats, Floats]:
    """Pairs of unit vectors, as alike as those of a middling model."""
    generator = np.random.default_rng(0)
    image = generator.standard_normal((pairs, WIDTH), np.float32)
    text = generator.standard_normal((pairs, WIDTH), np.float32)
    image += np.float32(0.16) * text
    for one in (image, text):
        one /= np.linalg.norm(one, axis=1, keepdims=True)
    return image, text


def ours(image: Floats, text: Floats, queries: int | None = None) -> list[float]:
    from edge_glass.training.evaluation.retrieval.recall import retrieval_curve, retrieval_metrics

    groups = np.arange(len(image))
    if queries is not None:
        ways = (image, text), (text, image)
        found = [
            retrieval_metrics(one[:queries], other, groups[:queries], groups, KS)
            for one, other in ways
        ]
        return [metrics[f"R@{k}"] for metrics in found for k in KS]
    both = retrieval_curve(image, text, groups, groups, [WIDTH], KS)[WIDTH]
    return [both[way][f"R@{k}"] for way in ("i2t", "t2i") for k in KS]


def argsort(image: Floats, text: Floats) -> list[float]:
    """The usual few lines: one matrix of scores, each row and each column sorted."""
    import torch

    scores = torch.from_numpy(image) @ torch.from_numpy(text).T
    recalls = []
    for directed in (scores, scores.T):
        order = directed.argsort(dim=1, descending=True)
        ranks = (order == torch.arange(len(order))[:, None]).int().argmax(dim=1)
        recalls += [(ranks < k).double().mean().item() for k in KS]
    return recalls


def faiss(image: Floats, text: Floats) -> list[float]:
    """An exact index a direction, searched for the ten nearest."""
    import faiss

    recalls = []
    for queries, candidates in ((image, text), (text, image)):
        index = faiss.IndexFlatIP(WIDTH)
        index.add(candidates)
        _, nearest = index.search(queries, max(KS))
        hits = nearest == np.arange(len(queries))[:, None]
        recalls += [float(hits[:, :k].any(axis=1).mean()) for k in KS]
    return recalls


WAYS = {"ours": ours, "argsort": argsort, "faiss": faiss}


def measure(way: str, pairs: int, queries: int | None) -> None:
    """Run one way once, in this process; print recalls, seconds and MiB above the start as JSON."""
    WAYS[way](*embeddings(64))  # imports and first calls are not what is measured
    image, text = embeddings(pairs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu_start = time.perf_counter(), time.process_time()
    recalls = WAYS[way](image, text) if queries is None else ours(image, text, queries)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {"recalls": recalls, "seconds": seconds, "cpu": cpu}
    print(json.dumps(result | {"memory": (peak - before) / 1024, "peak": peak / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--queries", type=int, help="only this many queries; with --only ours")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=WAYS, help="measure this way alone")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.queries is not None and "ours" not in (arguments.only, arguments.child):
        parser.error("--queries needs --only ours")
    if arguments.child:
        measure(arguments.child, arguments.pairs, arguments.queries)
        return

    ways = [arguments.only] if arguments.only else list(WAYS)
    threads = {f"{name}_NUM_THREADS": str(arguments.threads) for name in ("OMP", "OPENBLAS", "MKL")}
    print(f"{arguments.pairs} pairs at {WIDTH} dims, {arguments.threads} threads")
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    options = ["--pairs", str(arguments.pairs)]
    if arguments.queries is not None:
        options += ["--queries", str(arguments.queries)]
        print(f"only the first {arguments.queries} queries, against all candidates")
    for turn in range(arguments.repeats):
        for way in ways:
            if way == "argsort" and turn:
                continue
            child = subprocess.run(
                [sys.executable, __file__, "--child", way, *options],
                env=os.environ | threads,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            results[way].append(json.loads(child.stdout.splitlines()[-1]))
    medians = {
        way: {key: statistics.median(run[key] for run in runs) for key in KEYS}
        for way, runs in results.items()
    }
    for way, runs in results.items():
        # float32 ways may settle a near tie otherwise than the exact count: at most a query or two.
        np.testing.assert_allclose(runs[0]["recalls"], results[ways[0]][0]["recalls"], atol=2e-4)
        line = (
            "{:8} {seconds:7.2f} s, {cpu:7.2f} s of CPU, {memory:6.0f} MiB beyond the embeddings "
            "(peak {peak:.0f})".format(way, **medians[way])
        )
        if way != "ours":
            faster, cheaper, smaller = (
                medians[way][key] / medians["ours"][key] for key in ("seconds", "cpu", "memory")
            )
            line += (
                f": ours {faster:.1f}x faster, {cheaper:.1f}x less CPU, {smaller:.1f}x less memory"
            )
            line += f" (target: {TARGETS[way]})"
        print(line)
    print("R@1, R@5, R@10 i2t then t2i:", results[ways[0]][0]["recalls"])


if __name__ == "__main__":
    main()
