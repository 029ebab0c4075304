"""Retrieval between images and captions: recall, reciprocal rank, and their values at chance.

Queries and candidates have group numbers. Every candidate of the query's group is a right answer (a
positive), so a caption can have many images and an image many captions. The rank of a query is 1 +
the number of *wrong* candidates that score at least as much as its best positive. A tie counts
against the query, so that a model with equal scores for everything gains nothing. R@k is the share
of queries of rank at most k, MRR the mean of 1 / rank; both are from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edge_glass.training.evaluation.retrieval.ranks import (
    Counts,
    Embeddings,
    best_positives,
    count_at_least,
    unit_rows,
)

Array = torch.Tensor | NDArray[np.generic]
Groups = NDArray[np.int64]

KS = (1, 5, 10)
BLOCK_SIZE = 2048  # rows and columns of scores in memory at a time: 16 MB


def retrieval_metrics(
    queries: Array,
    candidates: Array,
    query_groups: Array,
    candidate_groups: Array,
    ks: Sequence[int] = KS,
    *,
    block_size: int = BLOCK_SIZE,
) -> dict[str, float]:
    """Returns `{"R@1": ..., "R@5": ..., "R@10": ..., "MRR": ...}` of one direction.

    Arguments and errors as in `retrieval_ranks`.
    """
    ranks = retrieval_ranks(
        queries, candidates, query_groups, candidate_groups, block_size=block_size
    )
    return metrics_of_ranks(ranks, ks)


def retrieval_curve(
    image: Array,
    text: Array,
    image_groups: Array,
    text_groups: Array,
    dims: Sequence[int],
    ks: Sequence[int] = KS,
    *,
    block_size: int = BLOCK_SIZE,
) -> dict[int, dict[str, dict[str, float]]]:
    """Returns `{dim: {"i2t": metrics, "t2i": metrics}}` of embeddings truncated to each dim.

    Arguments and errors as in `retrieval_ranks_both`; no dim is larger than the embeddings' width.
    """
    image, text = _float_array(image), _float_array(text)
    width = min(image.shape[-1], text.shape[-1])
    if any(not 1 <= dim <= width for dim in dims):
        raise ValueError(f"dims are {list(dims)}; expected each from 1 to the width {width}")
    curve = {}
    for dim in dims:
        i2t, t2i = retrieval_ranks_both(
            image[:, :dim], text[:, :dim], image_groups, text_groups, block_size=block_size
        )
        curve[dim] = {"i2t": metrics_of_ranks(i2t, ks), "t2i": metrics_of_ranks(t2i, ks)}
    return curve


def retrieval_ranks(
    queries: Array,
    candidates: Array,
    query_groups: Array,
    candidate_groups: Array,
    *,
    block_size: int = BLOCK_SIZE,
) -> Counts:
    """Returns the rank of each query, from 1.

    Args:
        queries: (Q, D) embeddings; they are normalised here.
        candidates: (C, D) embeddings; they are normalised here. Some may answer no query.
        query_groups: (Q,) integers.
        candidate_groups: (C,) integers.
        block_size: rows and columns of scores in memory at a time; changes no rank.

    Raises:
        ValueError: Shapes disagree, a number is not finite, or a query has no right answer.
    """
    left, left_groups = _units(queries, query_groups)
    right, right_groups = _units(candidates, candidate_groups)
    best, tied = best_positives(left, right, left_groups, right_groups)
    counts, _ = count_at_least(left, right, best, None, block_size)
    # The count includes the best positives themselves; no other positive reaches their score.
    return counts - tied + 1


def retrieval_ranks_both(
    image: Array,
    text: Array,
    image_groups: Array,
    text_groups: Array,
    *,
    block_size: int = BLOCK_SIZE,
) -> tuple[Counts, Counts]:
    """Returns the ranks of the images (image to text) and of the captions (text to image).

    Both come from one pass over the scores: half the cost of two calls of `retrieval_ranks`. The
    arguments and errors are the same.
    """
    left, left_groups = _units(image, image_groups)
    right, right_groups = _units(text, text_groups)
    best, tied = best_positives(left, right, left_groups, right_groups)
    text_best, text_tied = best_positives(right, left, right_groups, left_groups)
    counts, text_counts = count_at_least(left, right, best, text_best, block_size)
    return counts - tied + 1, text_counts - text_tied + 1


def metrics_of_ranks(ranks: Counts, ks: Sequence[int] = KS) -> dict[str, float]:
    """Returns recall at each k and the mean reciprocal rank."""
    if not len(ranks):
        raise ValueError("found no queries; expected at least one")
    recalls = {f"R@{k}": float(np.mean(ranks <= k)) for k in ks}
    return recalls | {"MRR": math.fsum(1.0 / ranks) / len(ranks)}


def chance_metrics(
    query_groups: Array, candidate_groups: Array, ks: Sequence[int] = KS
) -> dict[str, float]:
    """Returns the exact mean of the metrics over all orders of the candidates, equally likely.

    With m positives of C candidates, P(rank > r) is the product over t < r of (C - m - t) / (C -
    t). A rank counts wrong candidates only, as above: it is 1 + those before the first positive.
    """
    queries, candidates = _integers(query_groups), _integers(candidate_groups)
    ordered = np.sort(candidates)
    positives = np.searchsorted(ordered, queries, "right") - np.searchsorted(ordered, queries)
    sizes, queries_of_size = np.unique(positives, return_counts=True)
    if not len(sizes) or sizes[0] == 0:
        raise ValueError("expected queries, each with a right answer among the candidates")
    total = len(candidates)
    means = dict.fromkeys([*(f"R@{k}" for k in ks), "MRR"], 0.0)
    for size, count in zip(sizes, queries_of_size, strict=True):
        before = np.arange(total - size + 1)
        beyond = np.cumprod((total - size - before) / (total - before))  # P(rank > r), r from 1
        at_rank = -np.diff(np.concatenate([[1.0], beyond]))
        share = int(count) / len(queries)
        for k in ks:
            means[f"R@{k}"] += share * math.fsum(at_rank[:k])
        means["MRR"] += share * math.fsum(at_rank / (before + 1))
    return means


def _units(embeddings: Array, groups: Array) -> tuple[Embeddings, Groups]:
    array, numbers = _float_array(embeddings), _integers(groups)
    if array.ndim != 2 or numbers.shape != array.shape[:1]:
        raise ValueError(
            f"embeddings are {array.shape} and their groups {numbers.shape}; "
            "expected (rows, dim) and (rows,)"
        )
    return unit_rows(array), numbers


def _float_array(embeddings: Array) -> NDArray[np.floating]:
    if isinstance(embeddings, torch.Tensor):
        tensor = embeddings.detach().cpu()
        return (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy()
    return np.asarray(embeddings, np.result_type(embeddings.dtype, np.float32))


def _integers(groups: Array) -> Groups:
    array = groups.detach().cpu().numpy() if isinstance(groups, torch.Tensor) else groups
    if array.dtype.kind not in "iu":
        raise ValueError(f"groups are {array.dtype} numbers; expected integers")
    return array.astype(np.int64)
