"""Leaks are counted from identities and splits."""

from __future__ import annotations

import numpy as np

from edge_glass.training.prepare.leaks import count_leaks


def test_leaks_are_images_in_two_splits() -> None:
    one, two, three = (np.full((1, 16), n, dtype=np.uint8) for n in (1, 2, 3))
    both = np.concatenate([one, two])
    assert count_leaks(["train", "train", "val"], [both, one, three]) == 0
    assert count_leaks(["train", "val", "test"], [both, np.concatenate([two, three]), one]) == 2
