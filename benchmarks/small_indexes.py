"""Search in codes: recall and time per dim and precision, beside usearch's approximate index.

python benchmarks/small_indexes.py [ROWS]     default 1,000,000; one core

Vectors are drawn around 5,000 centres, with a spectrum that falls as a trained Matryoshka model's
does. Recall@10 is the share of the ten nearest full vectors (512 dims, float32) that a search
finds which rescores 200 candidates. Times are of one query, the median of 7.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from edge_glass.fusion.codes import CANDIDATES, encode_rows, nearest_rows

DIM, TOP, QUERIES = 512, 10, 20


def draw(count: int) -> np.ndarray:
    draws = np.random.default_rng(0)
    spectrum = (np.arange(1, DIM + 1) ** -0.5).astype(np.float32)
    centres = draws.standard_normal((5000, DIM), dtype=np.float32)
    rows = np.empty((count, DIM), np.float32)
    for start in range(0, count, 10_000):
        part = rows[start : start + 10_000]
        part[:] = draws.standard_normal(part.shape, dtype=np.float32)
        part += centres[draws.integers(0, len(centres), len(part))]
        part *= spectrum
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def median_ms(run: Callable[[], object]) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[3]


def report(name: str, size: float, found: list[set[int]], truth: list[set[int]], ms: float) -> None:
    recall = sum(len(one & other) for one, other in zip(found, truth, strict=True))
    share = recall / (TOP * len(truth))
    print(f"| {name} | {size:.0f} | {share:.3f} | {share / size:.5f} | {ms:.1f} |", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rows = draw(count + QUERIES)
    rows, queries = rows[:count], rows[count:]
    truth = [set(np.argsort(-(rows @ query))[:TOP].tolist()) for query in queries]
    print("| index | bytes per image | recall@10 | recall@10 per byte | ms per query |")
    print("|---|--:|--:|--:|--:|")
    report("float32, 512 dims", 4 * DIM, truth, truth, median_ms(lambda: rows @ queries[0]))

    def rescored(candidates: np.ndarray, query: np.ndarray) -> set[int]:
        return set(candidates[np.argsort(-(rows[candidates] @ query))[:TOP]].tolist())

    for dim in (512, 256, 128, 64):
        for precision in ("int8", "1bit"):
            codes = encode_rows(rows, dim, precision)

            def search(
                query: np.ndarray,
                codes: np.ndarray = codes,
                dim: int = dim,
                precision: str = precision,
            ) -> set[int]:
                return rescored(
                    nearest_rows(codes, query[:dim], precision, TOP * CANDIDATES), query
                )

            found = [search(query) for query in queries]
            ms = median_ms(lambda search=search: search(queries[0]))
            report(f"{precision}, {dim} dims, rescored", codes[0].nbytes, found, truth, ms)
    approximate(encode_rows(rows, 64, "int8"), queries, truth, rescored)


def approximate(
    codes: np.ndarray,
    queries: np.ndarray,
    truth: list[set[int]],
    rescored: Callable[[np.ndarray, np.ndarray], set[int]],
) -> None:
    from usearch.index import Index

    index = Index(ndim=64, metric="ip", dtype="i8")
    start = time.perf_counter()
    index.add(np.arange(len(codes), dtype=np.uint64), codes, threads=1)
    built = time.perf_counter() - start
    asked = encode_rows(queries, 64, "int8")

    def search(place: int) -> set[int]:
        keys = index.search(asked[place], TOP * CANDIDATES, threads=1).keys
        return rescored(keys.astype(np.int64), queries[place])

    found = [search(place) for place in range(len(queries))]
    size = index.memory_usage / len(codes)
    report(
        "usearch (HNSW), int8, 64 dims, rescored", size, found, truth, median_ms(lambda: search(0))
    )
    print(f"usearch needs {built:.0f} s to build the index.")


if __name__ == "__main__":
    main()
