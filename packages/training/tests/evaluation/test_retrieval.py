from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_glass.training.evaluation.retrieval.bootstrap import bootstrap_interval
from edge_glass.training.evaluation.retrieval.ranks import unit_rows
from edge_glass.training.evaluation.retrieval.recall import (
    chance_metrics,
    metrics_of_ranks,
    retrieval_curve,
    retrieval_metrics,
    retrieval_ranks,
    retrieval_ranks_both,
)

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


def pairs(
    queries: int = 90, candidates: int = 70, width: int = 16
) -> tuple[Floats, Floats, Integers, Integers]:
    generator = np.random.default_rng(2)
    concepts = generator.standard_normal((30, width))
    query_groups, candidate_groups = (
        np.concatenate([np.arange(30), generator.integers(0, 30, size - 30)])
        for size in (queries, candidates)
    )
    noisy = [
        concepts[groups] + generator.standard_normal((len(groups), width))
        for groups in (query_groups, candidate_groups)
    ]
    return (*(one.astype(np.float32) for one in noisy), query_groups, candidate_groups)


def by_sorting(
    queries: Floats, candidates: Floats, query_groups: Integers, candidate_groups: Integers
) -> Integers:
    """The definition: sort, ties against the query, count the wrong before the first right."""
    left, right = unit_rows(queries).astype(np.float64), unit_rows(candidates).astype(np.float64)
    ranks = []
    for scores, group in zip(left @ right.T, query_groups, strict=True):
        right_ones = candidate_groups == group
        order = np.lexsort((right_ones, -scores))  # of equal scores the wrong ones first
        first = int(np.argmax(right_ones[order]))
        ranks.append(1 + int((~right_ones[order][:first]).sum()))
    return np.array(ranks)


def test_ranks_equal_the_definition_by_sorting() -> None:
    given = pairs()
    queries, candidates, query_groups, candidate_groups = given
    expected = by_sorting(*given)
    other_way = by_sorting(candidates, queries, candidate_groups, query_groups)
    assert len(set(expected)) > 10  # neither all right nor all alike
    np.testing.assert_array_equal(retrieval_ranks(*given), expected)
    both = retrieval_ranks_both(*given)
    np.testing.assert_array_equal(both[0], expected)
    np.testing.assert_array_equal(both[1], other_way)


def test_ranks_agree_with_plain_cosines() -> None:
    """Rounding to 2**-26 moves no rank where cosines are further apart than that."""
    queries, candidates, query_groups, candidate_groups = pairs()
    cosines = torch.nn.functional.cosine_similarity(
        torch.from_numpy(queries).double()[:, None], torch.from_numpy(candidates).double(), dim=-1
    ).numpy()
    positive = query_groups[:, None] == candidate_groups
    best = np.where(positive, cosines, -2).max(1, keepdims=True)
    expected = 1 + ((cosines >= best) & ~positive).sum(1)
    ranks = retrieval_ranks(queries, candidates, query_groups, candidate_groups)
    np.testing.assert_array_equal(ranks, expected)


@pytest.mark.parametrize("block_size", [1, 7, 64, 1000])
def test_block_size_changes_no_number(block_size: int) -> None:
    given = pairs()
    # Copies and near copies within float32's error: here float32 alone would depend on the block.
    given[1][40:60] = given[1][:20] * np.float32(1.7)
    given[1][60:70] = given[1][:10] + np.float32(1e-7)
    whole, parts = retrieval_ranks_both(*given), retrieval_ranks_both(*given, block_size=block_size)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(whole[0], by_sorting(*given))


def test_order_of_candidates_changes_no_number() -> None:
    queries, candidates, query_groups, candidate_groups = pairs()
    candidates[40:60] = candidates[:20]
    shuffle = np.random.default_rng(0).permutation(70)
    np.testing.assert_array_equal(
        retrieval_ranks(queries, candidates, query_groups, candidate_groups),
        retrieval_ranks(queries, candidates[shuffle], query_groups, candidate_groups[shuffle]),
    )


def test_a_collapsed_model_earns_nothing() -> None:
    same = np.ones((50, 8), np.float32)
    ranks = retrieval_ranks(same, same, np.arange(50), np.arange(50))
    np.testing.assert_array_equal(ranks, 50)


def test_the_best_of_several_positives_counts() -> None:
    queries = np.array([[1.0, 0.0]])
    candidates = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.1], [-1.0, 0.0]])
    groups = np.array([5, 9, 5, 9])
    assert retrieval_ranks(queries, candidates, np.array([5]), groups) == [1]
    # Wrong ones before the best right one count; other right ones do not.
    assert retrieval_ranks(queries, candidates, np.array([9]), groups) == [2]


def test_metrics_and_curve() -> None:
    image, text, image_groups, text_groups = pairs(width=32)
    curve = retrieval_curve(image, text, image_groups, text_groups, dims=[32, 8], ks=(1, 3))
    assert list(curve) == [32, 8]
    assert list(curve[8]["i2t"]) == ["R@1", "R@3", "MRR"]
    cut = retrieval_metrics(
        torch.from_numpy(text[:, :8]),
        torch.from_numpy(image[:, :8]),
        text_groups,
        image_groups,
        (1, 3),
    )
    assert curve[8]["t2i"] == cut
    assert curve[32]["i2t"]["R@1"] > curve[8]["i2t"]["R@1"]
    assert metrics_of_ranks(np.array([1, 2, 4])) == {
        "R@1": 1 / 3,
        "R@5": 1.0,
        "R@10": 1.0,
        "MRR": pytest.approx((1 + 1 / 2 + 1 / 4) / 3),
    }


def test_half_precision_is_taken_as_it_is() -> None:
    image, text, image_groups, text_groups = pairs()
    low = torch.from_numpy(image).bfloat16()
    assert retrieval_metrics(low, text, image_groups, text_groups) == retrieval_metrics(
        low.float(), text, image_groups, text_groups
    )


def test_chance_is_the_mean_over_all_orders() -> None:
    query_groups, candidate_groups = np.array([0, 1, 1]), np.array([0, 1, 1, 7, 1])
    ranks = [
        1 + next(place for place, group in enumerate(order) if group == wanted)
        for wanted in query_groups
        for order in permutations(candidate_groups.tolist())
    ]
    expected = metrics_of_ranks(np.array(ranks), (1, 2, 5))
    assert chance_metrics(query_groups, candidate_groups, (1, 2, 5)) == pytest.approx(
        expected, rel=1e-12
    )


def test_random_embeddings_sit_at_chance() -> None:
    generator = np.random.default_rng(4)
    queries, candidates = (
        generator.standard_normal((2000, 8)).astype(np.float32) for _ in range(2)
    )
    groups = np.arange(2000) % 100
    found = retrieval_metrics(queries, candidates, groups, groups)
    chance = chance_metrics(groups, groups)
    for name, value in chance.items():
        # Five standard errors of a share over 2,000 queries; MRR varies less than a share.
        assert abs(found[name] - value) < 5 * np.sqrt(value * (1 - value) / 2000)


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval(
            generator.random(120) < 0.3, seed=trial, num_resamples=200, confidence=0.9
        )
        covered += low <= 0.3 <= high
    assert (
        166 <= covered <= 194
    )  # 180 expected, with a standard deviation of 4.2 and the method's own bias


def test_bootstrap_draws_are_fixed() -> None:
    """Written down, so that another NumPy or machine must give the same interval."""
    assert bootstrap_interval(np.arange(10) ** 2, seed=3, num_resamples=50) == pytest.approx(
        (13.2125, 47.8025), rel=1e-12
    )


def test_grouped_values_are_drawn_together() -> None:
    values, groups = np.repeat(np.arange(20) % 2, 10), np.repeat(np.arange(20), 10)
    alone, together = bootstrap_interval(values), bootstrap_interval(values, groups=groups)
    # Ten copies of each value are no more evidence than one: wider by about the root of ten.
    ratio = (together[1] - together[0]) / (alone[1] - alone[0])
    assert 2.5 < ratio < 4.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_groups": np.full(90, 31)}, "group 31, which no candidate has: 90 of 90"),
        ({"query_groups": np.arange(89)}, r"\(90, 16\) and their groups \(89,\)"),
        ({"query_groups": np.zeros(90)}, "groups are float64"),
        ({"candidates": np.ones((70, 15))}, "queries are 16 wide and candidates 15"),
        ({"queries": np.full((90, 16), np.nan)}, "embedding 0 of 90 holds NaN"),
    ],
)
def test_wrong_inputs_are_named(change: dict[str, Floats], message: str) -> None:
    names = ("queries", "candidates", "query_groups", "candidate_groups")
    with pytest.raises(ValueError, match=message):
        retrieval_ranks(**(dict(zip(names, pairs(), strict=True)) | change))
