"""Codes of embeddings: what they lose, and that a search with them finds the same images."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edge_glass.fusion import codes as module
from edge_glass.fusion.codes import (
    CANDIDATES,
    bit_products,
    check_precision,
    code_name,
    encode_rows,
    int8_products,
    nearest_rows,
    parse_name,
)


def clustered(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around 50 centres, whose first numbers matter most, as Matryoshka's do."""
    draws = np.random.default_rng(seed)
    weights = np.linspace(2, 0.5, dim)
    points = (
        draws.standard_normal((50, dim))[draws.integers(0, 50, rows)]
        + 0.8 * draws.standard_normal((rows, dim))
    ) * weights
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def recall(rows: np.ndarray, queries: np.ndarray, dim: int, precision: str, top: int = 10) -> float:
    """The share of the ten nearest rows by full vectors that a search with codes finds."""
    codes = encode_rows(rows, dim, precision)
    hits = 0
    for query in queries:
        scores = rows @ query
        expected = set(np.argsort(-scores, kind="stable")[:top])
        candidates = nearest_rows(codes, query[:dim], precision, top * CANDIDATES)
        found = candidates[np.argsort(-scores[candidates], kind="stable")][:top]
        hits += len(expected & set(found))
    return hits / (top * len(queries))


@pytest.mark.parametrize(
    ("dim", "precision", "least"), [(128, "int8", 0.99), (64, "int8", 0.99), (128, "1bit", 0.96)]
)
def test_rescored_candidates_are_the_nearest(dim: int, precision: str, least: float) -> None:
    rows = clustered(3100, 128)
    assert recall(rows[:3000], rows[3000:3030], dim, precision) >= least


@pytest.mark.parametrize("dim", [512, 4096])  # of the sample and of the paper's scale
def test_products_are_exact_with_and_without_simsimd(
    dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = np.random.default_rng(0)
    codes = draws.integers(-127, 128, (5000, dim), dtype=np.int8)
    target = draws.integers(-127, 128, dim, dtype=np.int8)
    codes[0], target[:] = 127, 127  # the largest sum
    codes[1], codes[1, 0] = 127, 126  # odd, so float32 would round it at 4,096 dims
    expected = codes.astype(np.int64) @ target.astype(np.int64)
    assert np.array_equal(int8_products(codes, target), expected)
    monkeypatch.setattr(module, "_working_simsimd", lambda: None)
    assert np.array_equal(int8_products(codes, target), expected)


@pytest.mark.parametrize("first", ["usearch.index", "faiss", "numkong", "simsimd"])
def test_products_do_not_depend_on_what_is_loaded_first(first: str) -> None:
    pytest.importorskip(first.partition(".")[0])
    code = f"""
import {first}
import numpy as np
from edge_glass.fusion.codes import int8_products
codes = np.arange(-64, 64, dtype=np.int8).reshape(2, 64)
print(int8_products(codes, codes[0]).astype(int).tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    codes = np.arange(-64, 64).reshape(2, 64)
    assert done.stdout.strip() == str((codes @ codes[0]).tolist())


@pytest.mark.parametrize("dim", [64, 20, 8, 1])
def test_bits_have_the_sizes_of_the_query(dim: int) -> None:
    rows = clustered(40, 64)
    codes = encode_rows(rows, dim, "1bit")
    assert codes.shape == (40, -(-dim // 8))
    target = encode_rows(rows[7:8], dim, "int8")[0]
    expected = np.where(rows[:, :dim] > 0, 1, -1) @ target.astype(np.int64)
    assert np.array_equal(bit_products(codes, target), expected)
    assert np.array_equal(bit_products(codes[:0], target), expected[:0])
    nearest = np.argsort(-expected, kind="stable")[:5]
    assert np.array_equal(nearest_rows(codes, rows[7, :dim], "1bit", 5), nearest)


def test_equal_codes_keep_their_order_and_few_rows_are_all_returned() -> None:
    rows = np.repeat(clustered(2, 8), 3, axis=0)
    codes = encode_rows(rows, 8, "int8")
    assert nearest_rows(codes, rows[0], "int8", 2).tolist() == [0, 1]
    assert nearest_rows(codes, rows[3], "int8", 99).tolist() == [3, 4, 5, 0, 1, 2]
    assert nearest_rows(codes[:0], rows[0], "int8", 5).tolist() == []


@pytest.mark.parametrize("count", [1, 7, 20, 21, 5130])
def test_the_largest_of_many_are_those_of_a_sort(count: int) -> None:
    # 20 groups of 256 and a rest; many equal values
    values = np.random.default_rng(0).integers(0, 50, 5130)
    values[[0, 300, 5129]] = 60
    expected = np.argsort(-values, kind="stable")[:count]
    assert np.array_equal(module._largest(values, count), expected)


def test_names_and_precisions() -> None:
    assert parse_name(code_name(64, "int8")) == (64, "int8")
    with pytest.raises(ValueError, match="precision is int4, expected one of float32, int8, 1bit"):
        check_precision("int4")
