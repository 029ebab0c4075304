"""Ranks among candidates that are corrected for hubs, against the formula."""

from __future__ import annotations

import numpy as np
import torch

from edge_glass.training.evaluation.retrieval.hubs import corrected_ranks
from edge_glass.training.evaluation.retrieval.recall import retrieval_ranks


def normal(rows: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 16, generator=torch.Generator().manual_seed(seed))


def test_a_candidate_loses_its_similarity_to_the_nearest_of_the_bank() -> None:
    queries, candidates, bank = normal(40, 0), normal(9, 1), normal(7, 2)
    groups = np.arange(40) % 9
    units = [torch.nn.functional.normalize(each.double()) for each in (queries, candidates, bank)]
    scores = units[0] @ units[1].T - (units[1] @ units[2].T).amax(dim=1)
    own = scores[torch.arange(40), torch.from_numpy(groups)]
    expected = (scores >= own[:, None]).sum(dim=1)
    assert np.array_equal(corrected_ranks(queries, candidates, bank, groups), expected.numpy())
    # a bank that is as near to all candidates changes no rank
    nothing = torch.zeros(1, 16)
    plain = retrieval_ranks(queries, candidates, groups, np.arange(9))
    assert np.array_equal(corrected_ranks(queries, candidates, nothing, groups), plain)


def test_a_hub_no_longer_attracts_and_ties_count_against_the_query() -> None:
    hub, own = torch.tensor([1.0, 0.0]), torch.tensor([0.6, 0.8])
    candidates, queries = torch.stack([hub, own]), torch.tensor([[0.9, 0.436]])
    groups = np.array([1])
    assert retrieval_ranks(queries, candidates, groups, np.arange(2)).tolist() == [2]
    assert corrected_ranks(queries, candidates, hub[None], groups).tolist() == [1]
    equal = torch.stack([own, own])
    assert corrected_ranks(queries, equal, hub[None], groups).tolist() == [2]
