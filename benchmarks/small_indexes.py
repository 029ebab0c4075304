"""Search in codes: recall and time per dim and precision, beside usearch's approximate index.

python benchmarks/small_indexes.py [ROWS [CANDIDATES] [exact] [trained]]

ROWS is 1,000,000 by default, CANDIDATES 20 per wanted image. `exact` leaves usearch out. Vectors
are drawn around 5,000 centres. They spread over all 512 directions, which is hard for small codes.
With `trained` they spread over as few as the images of the trained sample, whose variance falls by
a factor of e every 16 directions. Recall@10 is the share of the ten nearest full vectors (512 dims,
float32) that a search finds among its candidates, which it ranks by full vectors. Times are CPU
time of one query on one thread, the median of 7. Below the table is whether the targets are met:
int8 keeps 99 % and 1 bit 96 % of the recall of float32 at the same dim with as many candidates, and
a search in 1 million codes of 64 int8 numbers takes 15 ms.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np

from edge_glass.fusion.codes import CANDIDATES, encode_rows, nearest_rows

DIM, TOP, QUERIES = 512, 10, 20
LEAST = {"int8": 0.99, "1bit": 0.96}  # of the recall of float32
MAX_MS = 15.0  # for a million codes of 64 int8 numbers


def draw_as_trained(count: int) -> np.ndarray:
    """Vectors with the sample's spectrum; its first 16 numbers are the largest, then 16 more."""
    draws = np.random.default_rng(0)
    sizes = np.exp(-np.arange(128) / 32)
    basis = np.linalg.qr(draws.standard_normal((DIM, 128)))[0].T * sizes[:, None]
    basis *= np.repeat([1.9, 1.15, 1.0], [16, 16, DIM - 32])
    centres = draws.standard_normal((5000, 128))
    latent = centres[draws.integers(0, 5000, count)] + 0.6 * draws.standard_normal((count, 128))
    rows = latent.astype(np.float32) @ basis.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


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
        start = time.process_time()  # one thread: a busy machine changes it little
        run()
        times.append(time.process_time() - start)
    return 1000 * sorted(times)[3]


def report(
    name: str, size: float, found: list[set[int]], truth: list[set[int]], ms: float
) -> float:
    recall = sum(len(one & other) for one, other in zip(found, truth, strict=True))
    share = recall / (TOP * len(truth))
    print(f"| {name} | {size:.0f} | {share:.3f} | {share / size:.5f} | {ms:.1f} |", flush=True)
    return share


def main() -> None:
    numbers = [int(each) for each in sys.argv[1:] if each.isdecimal()]
    count, candidates = (*numbers, *(1_000_000, CANDIDATES)[len(numbers) :])
    rows = (draw_as_trained if "trained" in sys.argv else draw)(count + QUERIES)
    rows, queries = rows[:count], rows[count:]
    truth = [set(np.argsort(-(rows @ query))[:TOP].tolist()) for query in queries]
    print("| index | bytes per image | recall@10 | recall@10 per byte | ms per query |")
    print("|---|--:|--:|--:|--:|")
    report("float32, 512 dims", 4 * DIM, truth, truth, median_ms(lambda: rows @ queries[0]))

    def rescored(chosen: np.ndarray, query: np.ndarray) -> set[int]:
        return set(chosen[np.argsort(-(rows[chosen] @ query))[:TOP]].tolist())

    shares: dict[tuple[int, str], float] = {}
    times: dict[tuple[int, str], float] = {}
    for dim in (512, 256, 128, 64, 16):
        for precision in ("float32", "int8", "1bit"):
            codes = encode_rows(rows, dim, precision)

            def search(
                query: np.ndarray,
                codes: np.ndarray = codes,
                dim: int = dim,
                precision: str = precision,
            ) -> set[int]:
                return rescored(
                    nearest_rows(codes, query[:dim], precision, TOP * candidates), query
                )

            found = [search(query) for query in queries]
            key = dim, precision
            times[key] = median_ms(lambda search=search: search(queries[0]))
            name = f"{precision}, {dim} dims, rescored"
            shares[key] = report(name, codes[0].nbytes, found, truth, times[key])
    if "exact" not in sys.argv:
        approximate(encode_rows(rows, 64, "int8"), queries, truth, TOP * candidates, rescored)
    print()
    for (dim, precision), share in shares.items():
        if precision in LEAST:
            kept, least = share / shares[dim, "float32"], LEAST[precision]
            met = "pass" if kept >= least else "FAIL"
            print(f"{met}: {precision} at {dim} dims keeps {kept:.1%}, target {least:.0%}")
    ms = times[64, "int8"]
    met = "pass" if ms * 1e6 / count <= MAX_MS else "FAIL"
    print(
        f"{met}: int8 at 64 dims takes {ms:.1f} ms for {count:,}, target {MAX_MS:.0f} per million"
    )


def approximate(
    codes: np.ndarray,
    queries: np.ndarray,
    truth: list[set[int]],
    count: int,
    rescored: Callable[[np.ndarray, np.ndarray], set[int]],
) -> None:
    from usearch.index import Index

    index = Index(ndim=64, metric="ip", dtype="i8")
    start = time.perf_counter()
    index.add(np.arange(len(codes), dtype=np.uint64), codes, threads=1)
    built = time.perf_counter() - start
    asked = encode_rows(queries, 64, "int8")

    def search(place: int) -> set[int]:
        keys = index.search(asked[place], count, threads=1).keys
        return rescored(keys.astype(np.int64), queries[place])

    found = [search(place) for place in range(len(queries))]
    size = index.memory_usage / len(codes)
    report(
        "usearch (HNSW), int8, 64 dims, rescored", size, found, truth, median_ms(lambda: search(0))
    )
    print(f"usearch needs {built:.0f} s to build the index.")


if __name__ == "__main__":
    main()
