"""The bands find the same near-duplicates as a comparison of all images with all."""

from __future__ import annotations

import numpy as np
import pytest

from edge_glass.training.prepare.near_duplicates import find_lookalikes, near_pairs


def crowd(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes in families whose members differ in 0 to 12 bits, equal ones among them; splits."""
    generator = np.random.default_rng(7)
    families = generator.integers(0, 2**64, size // 6, dtype=np.uint64)
    hashes = generator.choice(families, size)
    for index in range(size):
        for bit in generator.choice(64, generator.integers(0, 7), replace=False):
            hashes[index] ^= np.uint64(1) << np.uint64(bit)
    return hashes, generator.integers(0, 3, size)


@pytest.mark.parametrize("distance", [0, 1, 4, 9])
@pytest.mark.parametrize("block", [3, 2048])
def test_bands_lose_nothing(distance: int, block: int) -> None:
    hashes, splits = crowd(300)
    bits = np.bitwise_count(hashes[:, None] ^ hashes)
    near = (bits <= distance) & ~np.eye(len(hashes), dtype=bool)
    pairs = {pair for left, right in near_pairs(hashes, distance, block=block)
             for pair in zip(left.tolist(), right.tolist(), strict=True)}  # fmt: skip
    assert pairs == {(i, j) for i, j in np.argwhere(near).tolist() if i < j}

    other = splits[:, None] != splits
    before = np.tri(len(hashes), k=-1, dtype=bool)
    found = find_lookalikes(hashes, splits, distance, block=block)
    np.testing.assert_array_equal(found.any_split, near.any(axis=1))
    np.testing.assert_array_equal(found.across, (near & other).any(axis=1))
    np.testing.assert_array_equal(found.earlier, (near & before).any(axis=1))
    np.testing.assert_array_equal(found.earlier_across, (near & before & other).any(axis=1))
    assert 0 < found.across.sum() < len(hashes)  # both outcomes occur


def test_no_images_have_no_lookalikes() -> None:
    none = find_lookalikes(np.zeros(0, np.uint64), np.zeros(0, np.int64), 4)
    assert none.any_split.tolist() == []
