"""Masks and positions of packed questions, against loops."""

from __future__ import annotations

import torch

from edge_glass.fusion.packing import packed_mask, packed_positions

SEGMENTS = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 0, 1, 1, -1, -1]])


def test_mask_against_a_loop() -> None:
    prefix, (batch, length) = 2, SEGMENTS.shape
    mask = packed_mask(SEGMENTS, prefix)
    for row in range(batch):
        ids = [-2] * prefix + SEGMENTS[row].tolist()
        for i in range(prefix + length):
            for j in range(prefix + length):
                allowed = i == j or (ids[j] != -1 and (ids[j] == -2 or ids[i] == ids[j]))
                assert bool(mask[row, i, j]) == allowed, (row, i, j)


def test_positions_restart_after_the_prefix() -> None:
    positions = packed_positions(SEGMENTS, 2)
    assert positions[0].tolist() == [0, 1, 2, 3, 4, 2, 3, 2]
    assert positions[1, :6].tolist() == [0, 1, 2, 3, 2, 3]


def test_without_a_prefix() -> None:
    assert packed_positions(SEGMENTS, 0)[0].tolist() == [0, 1, 2, 0, 1, 0]
    assert packed_mask(SEGMENTS, 0).shape == (2, 6, 6)
