"""Recall of a search in small codes, against numbers that a few lines of NumPy compute."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from edge_glass.training.evaluation.alignment.code_recall import code_recall
from edge_glass.training.evaluation.retrieval.recall import retrieval_metrics


def drawn_split(num_groups: int = 60, per_group: int = 10, dim: int = 32) -> Any:
    """Images around the caption of their group; the first numbers matter most."""
    draws = np.random.default_rng(0)
    weights = np.linspace(2.0, 0.2, dim)
    text = draws.standard_normal((num_groups, dim)) * weights
    groups = np.repeat(np.arange(num_groups), per_group)
    image = text[groups] + 1.6 * draws.standard_normal((len(groups), dim)) * weights
    return SimpleNamespace(
        text=torch.tensor(text, dtype=torch.float32),
        image=torch.tensor(image, dtype=torch.float32),
        text_groups=torch.arange(num_groups),
        image_groups=torch.tensor(groups),
    )


def test_float32_has_the_recall_of_the_truncated_embeddings() -> None:
    split = drawn_split()
    found = code_recall(split, (32, 8))
    for dim in (32, 8):
        expected = retrieval_metrics(
            split.text[:, :dim], split.image[:, :dim], split.text_groups, split.image_groups
        )
        assert found[str(dim)]["float32"]["R@10"] == expected["R@10"]
    assert found["32"]["float32"]["agreement"] == 1.0
    assert found["8"]["float32"]["agreement"] < 0.9  # 8 numbers alone find different images


def test_codes_take_few_bytes_and_are_rescored() -> None:
    found = code_recall(drawn_split(), (32, 8))
    sizes = {
        (dim, precision): figures["bytes"]
        for dim, by_precision in found.items()
        for precision, figures in by_precision.items()
    }
    assert sizes == {
        ("32", "float32"): 128,
        ("32", "int8"): 32,
        ("32", "1bit"): 4,
        ("8", "float32"): 32,
        ("8", "int8"): 8,
        ("8", "1bit"): 1,
    }
    assert found["32"]["int8"] == {"bytes": 32, "R@10": found["32"]["float32"]["R@10"]} | {
        "agreement": 1.0  # the ten nearest are always among 200 candidates of 600
    }
    # full vectors rank the candidates, so 8 dims in int8 beat 8 dims in float32, and one byte of
    # signs loses some of the nearest
    assert found["8"]["int8"]["agreement"] > found["8"]["float32"]["agreement"]
    assert 0.5 < found["8"]["1bit"]["agreement"] < found["8"]["int8"]["agreement"]


def test_a_split_smaller_than_a_result_is_scored() -> None:
    split = drawn_split(num_groups=2, per_group=2)
    assert code_recall(split, (8,))["8"]["1bit"] == pytest.approx(
        {"bytes": 1, "R@10": 1.0, "agreement": 1.0}
    )
