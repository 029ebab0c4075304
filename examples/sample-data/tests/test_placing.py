from random import Random

import pytest
from placing import MAX_OVERLAP, Box, place

PLACED = [
    (count, width, place(Random(seed), count, width, 1.0))
    for seed in range(150)
    for count in range(1, 7)
    for width in (1.0, 4 / 3)
]


def test_overlap_is_the_share_of_the_smaller_box() -> None:
    first = Box(x=0.5, y=0.5, side=0.4)
    assert first.overlap(Box(x=0.9, y=0.5, side=0.4)) == 0.0
    assert first.overlap(Box(x=0.8, y=0.5, side=0.4)) == pytest.approx(0.25)
    assert first.overlap(Box(x=0.5, y=0.5, side=0.1)) == 1.0


def test_boxes_are_on_the_canvas_and_hardly_overlap() -> None:
    for count, width, boxes in PLACED:
        assert len(boxes) == count
        for number, box in enumerate(boxes):
            # A box may touch the edge: 1e-9 for the rounding of sums.
            assert box.side / 2 - 1e-9 <= box.x <= width - box.side / 2 + 1e-9
            assert box.side / 2 - 1e-9 <= box.y <= 1 - box.side / 2 + 1e-9
            assert all(box.overlap(other) <= MAX_OVERLAP for other in boxes[:number])


def test_sizes_differ() -> None:
    sides = [box.side for _, _, boxes in PLACED for box in boxes]
    assert min(sides) < 0.2
    assert max(sides) > 0.6
