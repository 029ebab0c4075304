"""Retrieval that corrects for hubs: candidates that are near to many queries.

A caption of training is nearer to every image than a caption that training has not seen, so it
attracts images that show something else. Its excess is measured on images of training: a candidate
loses (a share of) the similarity to the image of a bank that is nearest to it.

Source: cross-domain similarity local scaling, Conneau et al. 2018, arXiv 1710.04087, with one
neighbour. All images of a query see the same candidates, so the queries' own term changes no rank.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edge_glass.training.evaluation.retrieval.ranks import Counts, Embeddings, Scores, unit_rows

BLOCK = 2048  # queries, and candidates, whose scores are in memory at once


def corrected_ranks(
    queries: torch.Tensor,
    candidates: torch.Tensor,
    bank: torch.Tensor,
    query_groups: NDArray[np.int64],
) -> Counts:
    """Returns the rank of each query, from 1, among candidates that are corrected for hubs.

    As in `retrieval_ranks` a tie counts against the query. The scores are whole numbers, so that
    any CPU gives the same ranks.

    Args:
        queries: (Q, D) embeddings.
        candidates: (C, D) embeddings; number c is the one right answer of group c.
        bank: (K, D) embeddings of the queries' kind.
        query_groups: (Q,) numbers of candidates.
    """
    left, right, near = (unit_rows(each.numpy()) for each in (queries, candidates, bank))
    parts = [right[start : start + BLOCK] for start in range(0, len(right), BLOCK)]
    excess = [_products(part, near).max(axis=1) for part in parts]
    own = np.einsum("qd,qd->q", *(each.astype(np.float64) for each in (left, right[query_groups])))
    own -= np.concatenate(excess)[query_groups]
    ranks = np.zeros(len(left), np.int64)
    for start in range(0, len(left), BLOCK):
        rows = slice(start, start + BLOCK)
        for part, near_by in zip(parts, excess, strict=True):
            scores = _products(left[rows], part) - near_by
            ranks[rows] += (scores >= own[rows, None]).sum(axis=1)
    return ranks


def _products(left: Embeddings, right: Embeddings) -> Scores:
    """Returns dot products; whole numbers below 2**53, so exact in any order."""
    return left.astype(np.float64) @ right.astype(np.float64).T
