"""Points of answers: by distance, and in masks."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from edge_glass.training.evaluation.answers.points import paired_distances, point_metrics

TRUE = '<points x1="10" y1="10" x2="50" y2="50" alt="cups">cups</points>'


def test_pairs_are_one_to_one_and_the_nearest_first() -> None:
    assert paired_distances([(0, 0), (0, 4)], [(0, 3)]) == [1.0]
    assert paired_distances([(0, 0), (3, 4)], [(3, 4), (0, 0), (9, 9)]) == [0.0, 0.0]
    assert paired_distances([(0, 0), (10, 0)], [(10, 3), (0, 1)]) == [1.0, 3.0]
    assert paired_distances([], [(1, 1)]) == []


def test_scores_by_distance() -> None:
    rows = [{"answer": TRUE}, {"answer": "There are none."}, {"answer": "four"}]
    perfect = point_metrics([TRUE, "There are none.", "3"], rows)
    assert perfect == {"point_f1": 1.0, "point_distance": 0.0}
    # one point 3 away, one missing; a point that should not be there
    partly = '<point x="10" y="13" alt="cups">cups</point>'
    found = point_metrics([partly, partly, "4"], rows)
    assert found["point_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["point_distance"] == pytest.approx(3.0)
    # 6 away is too far
    far = '<point x="10" y="16" alt="cups">cups</point>'
    assert point_metrics([far], rows[:1])["point_f1"] == 0.0
    assert point_metrics(["two"], [{"answer": "two"}]) == {}
    assert point_metrics(["no idea"], rows[:1]) == {"point_f1": 0.0}


def test_a_mask_is_hit_once() -> None:
    masks = []
    for box in ((0, 0, 20, 20), (40, 40, 60, 60)):
        image = Image.new("1", (200, 100))
        image.paste(1, (2 * box[0], box[1], 2 * box[2], box[3]))
        file = io.BytesIO()
        image.save(file, "PNG")
        masks.append(file.getvalue())
    rows = [{"answer": TRUE, "masks": masks}]
    assert point_metrics([TRUE], rows)["point_in_mask_f1"] == 1.0
    twice = '<points x1="10" y1="10" x2="12" y2="12" alt="cups">cups</points>'
    assert point_metrics([twice], rows)["point_in_mask_f1"] == pytest.approx(2 * 1 / 4)
    assert point_metrics(["none"], rows)["point_in_mask_f1"] == 0.0
