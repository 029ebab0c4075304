"""Splits follow the picture and nothing else."""

from __future__ import annotations

from collections import Counter

import pytest

from edge_glass.training.prepare.splits import image_id, split_of

SHARES = {"train": 0.7, "val": 0.2, "test": 0.1}


def test_shares_are_met() -> None:
    names = Counter(split_of(image_id(str(n).encode()), 0, SHARES) for n in range(4000))
    for name, share in SHARES.items():
        # four standard deviations of a binomial draw
        assert abs(names[name] / 4000 - share) < 4 * (share * (1 - share) / 4000) ** 0.5


def test_a_function_of_picture_and_seed() -> None:
    ids = [image_id(str(n).encode()) for n in range(200)]
    first = [split_of(each, 0, SHARES) for each in ids]
    assert first == [split_of(each, 0, SHARES) for each in ids]
    assert first != [split_of(each, 1, SHARES) for each in ids]


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(
        ValueError, match=r"shares are .*0\.9.*, expected none below 0 and a sum of 1"
    ):
        split_of("00", 0, {"train": 0.9})
    with pytest.raises(ValueError, match=r"shares are .*nan"):
        split_of("00", 0, {"train": float("nan")})
