"""Exact ranks by counting the candidates that score at least as much as a query's best positive.

What is unusual: the ranks depend only on the embeddings. Rows are normalised and rounded to
multiples of 2**-26, so that a dot product in float64 is exact in any order of summation: any block
size, BLAS, thread count and CPU gives the same comparisons, ties included. Most of the work is
still done in float32: if a score differs from its threshold by more than the worst error of
float32, that decides; only the few closer ones are computed in float64.

No row is sorted and no full matrix is stored: memory is the rounded embeddings (4 bytes per number)
and one block of scores. NumPy, not torch: the exact results do not need the settings that make the
matrix products of torch reproducible and slow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.int32]  # unit rows in steps of 2**-26
Scores = NDArray[np.float64]  # exact dot products of these, in steps of 2**-52
Counts = NDArray[np.int64]

_BITS = 26  # dot products of unit rows reach 2**52, and float64 counts exactly to 2**53
_EXACT_PAIRS = 8192  # pairs computed in float64 at once: 64 MB at 512 dims
_FEW = 1 / 64  # share of a block's scores above which the whole block is computed in float64


def unit_rows(embeddings: NDArray[np.floating]) -> Embeddings:
    """Returns rows of length 1 in steps of 2**-26; a row of zeros stays as it is.

    Raises:
        ValueError: The array is not (rows, dim), or holds NaN or infinity.
    """
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings have shape {embeddings.shape}; expected (rows, dim)")
    units = np.empty(embeddings.shape, np.int32)
    for start in range(0, len(embeddings), 4096):
        block = embeddings[start : start + 4096].astype(np.float64)
        squares = np.square(block)
        while squares.shape[1] > 1:  # a fixed tree of sums: the same root on every CPU
            half = squares.shape[1] // 2
            folded = squares[:, :half] + squares[:, half : 2 * half]
            squares = np.concatenate([folded, squares[:, 2 * half :]], axis=1)
        norms = np.sqrt(squares)
        if not np.isfinite(norms).all():
            row = start + int(np.flatnonzero(~np.isfinite(norms[:, 0]))[0])
            raise ValueError(f"embedding {row} of {len(embeddings)} holds NaN or infinity")
        norms[norms == 0] = 1.0
        units[start : start + 4096] = np.rint(block / norms * 2.0**_BITS)
    return units


def best_positives(
    queries: Embeddings,
    candidates: Embeddings,
    query_groups: NDArray[np.int64],
    candidate_groups: NDArray[np.int64],
) -> tuple[Scores, Counts]:
    """Returns each query's best score among the candidates of its group, and how many reach it.

    Raises:
        ValueError: The widths differ, or the group of a query has no candidate.
    """
    if queries.shape[1] != candidates.shape[1]:
        raise ValueError(
            f"queries are {queries.shape[1]} wide and candidates {candidates.shape[1]}; "
            "expected the same width"
        )
    order = np.argsort(candidate_groups, kind="stable")
    first = np.searchsorted(candidate_groups, query_groups, "left", sorter=order)
    counts = np.searchsorted(candidate_groups, query_groups, "right", sorter=order) - first
    if not counts.all():
        missing = int(np.flatnonzero(counts == 0)[0])
        raise ValueError(
            f"query {missing} has group {query_groups[missing]}, which no candidate has: "
            f"{np.count_nonzero(counts == 0)} of {len(queries)} queries have no right answer"
        )
    best = np.full(len(queries), -np.inf)
    tied = np.zeros(len(queries), np.int64)
    ends = np.cumsum(counts)
    for start in range(0, int(ends[-1]) if len(ends) else 0, _EXACT_PAIRS):
        pair = np.arange(start, min(start + _EXACT_PAIRS, int(ends[-1])))
        query = np.asarray(np.searchsorted(ends, pair, "right"))
        candidate = order[first[query] + pair - (ends[query] - counts[query])]
        scores = _exact(queries, candidates, query, candidate)
        before = best.copy()
        np.maximum.at(best, query, scores)
        tied[best > before] = 0
        np.add.at(tied, query[scores == best[query]], 1)
    return best, tied


def count_at_least(
    queries: Embeddings,
    candidates: Embeddings,
    query_thresholds: Scores,
    candidate_thresholds: Scores | None = None,
    block_size: int = 2048,
) -> tuple[Counts, Counts]:
    """Counts candidates that reach the threshold of a query, and queries that of a candidate.

    Both counts come from one matrix product per block. `block_size` trades memory for speed and
    changes no count.
    """
    width = queries.shape[1]
    # Worst case of a float32 dot product of unit vectors: one rounding per product and per sum; the
    # rest is for thresholds.
    error = (width + 8) * 2.0**-24
    of_queries = np.zeros(len(queries), np.int64)
    of_candidates = np.zeros(len(candidates), np.int64)
    column_blocks = [slice(at, at + block_size) for at in range(0, len(candidates), block_size)]
    for start in range(0, len(queries), block_size):
        rows = slice(start, start + block_size)
        row_block = queries[rows].astype(np.float32) * np.float32(2.0**-_BITS)
        for columns in column_blocks:
            column_block = candidates[columns].astype(np.float32) * np.float32(2.0**-_BITS)
            scores = row_block @ column_block.T
            block = _Block(queries[rows], candidates[columns], scores, error)
            of_queries[rows] += block.count(query_thresholds[rows], axis=1)
            if candidate_thresholds is not None:
                of_candidates[columns] += block.count(candidate_thresholds[columns], axis=0)
    return of_queries, of_candidates


class _Block:
    """The float32 scores of a block, and its rows for the scores that float32 cannot decide."""

    def __init__(
        self, queries: Embeddings, candidates: Embeddings, scores: NDArray[np.float32], error: float
    ) -> None:
        self.queries, self.candidates, self.scores, self.error = queries, candidates, scores, error

    def count(self, thresholds: Scores, axis: int) -> Counts:
        """Counts the scores that reach the threshold of their row (axis 1) or column (axis 0)."""
        limits = thresholds * 2.0 ** (-2 * _BITS)
        shape = (-1, 1) if axis == 1 else (1, -1)
        sure = self.scores >= (limits + self.error).astype(np.float32).reshape(shape)
        possible = self.scores >= (limits - self.error).astype(np.float32).reshape(shape)
        counts = _count_true(sure, axis)
        np.not_equal(possible, sure, out=possible)
        doubtful = np.flatnonzero(possible)
        if len(doubtful) > possible.size * _FEW:
            exact = self.queries.astype(np.float64) @ self.candidates.astype(np.float64).T
            return _count_true(exact >= thresholds.reshape(shape), axis)
        for start in range(0, len(doubtful), _EXACT_PAIRS):
            pair = np.unravel_index(doubtful[start : start + _EXACT_PAIRS], possible.shape)
            reached = _exact(self.queries, self.candidates, *pair) >= thresholds[pair[1 - axis]]
            counts += np.bincount(pair[1 - axis][reached], minlength=len(counts))
        return counts


def _exact(
    queries: Embeddings,
    candidates: Embeddings,
    query: NDArray[np.intp],
    candidate: NDArray[np.intp],
) -> Scores:
    """Returns the exact dot products of pairs of rows."""
    left, right = queries[query].astype(np.float64), candidates[candidate].astype(np.float64)
    scores: Scores = np.einsum("pd,pd->p", left, right)
    return scores


def _count_true(table: NDArray[np.bool_], axis: int) -> Counts:
    """Counts True along an axis, faster than NumPy's sum, which adds in int64."""
    if axis == 1:
        return np.fromiter((np.count_nonzero(row) for row in table), np.int64, len(table))
    counts = np.zeros(table.shape[1], np.int64)
    for start in range(0, len(table), 255):  # a byte counts to 255
        counts += np.add.reduce(table[start : start + 255].view(np.uint8), axis=0, dtype=np.uint8)
    return counts
