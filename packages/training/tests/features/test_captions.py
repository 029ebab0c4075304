"""Groups of caption rows: equal captions are right answers for each other's images."""

from __future__ import annotations

import torch

from edge_glass.training.evaluation.retrieval.recall import retrieval_curve
from edge_glass.training.features.captions import CaptionRows, first_rows, group_rows


def test_images_with_equal_captions_are_one_group() -> None:
    groups, names, captions = group_rows(
        ["a", "b", "c", "a", "d"], ["A red  disc.", "a red disc", "a ring", "a wheel", "A RING!"]
    )
    # the second caption of image a belongs to the group of its first one
    assert groups == [0, 0, 1, 0, 1]
    assert names == ["a", "c"]
    assert captions == ["a red disc", "a ring"]


def test_concepts_stay_together_and_join_through_equal_captions() -> None:
    groups, names, _ = group_rows(["x", "y", "x", "z"], ["dog", "cat", "hound", "Dog"])
    assert groups == [0, 1, 0, 0]
    assert names == ["x", "y"]


def test_a_perfect_model_has_recall_one() -> None:
    """Four images, of which three have the same caption in different spellings."""
    captions = ["a dog", "A dog.", "a cat", "a  DOG"]
    groups = torch.tensor(group_rows(["1", "2", "3", "4"], captions)[0])
    space = torch.eye(2)[groups]  # (4, 2), an image lies where its caption does
    first = first_rows(groups)
    text = space[[first[number] for number in range(2)]]
    curve = retrieval_curve(space, text, groups, torch.arange(2), [2], ks=(1,))
    assert {way: found["R@1"] for way, found in curve[2].items()} == {"i2t": 1.0, "t2i": 1.0}


def test_equal_drawn_captions_are_no_negatives_across_groups() -> None:
    rows = CaptionRows(
        images=torch.arange(3),
        groups=torch.arange(3),
        texts=[torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([4])],
        canonical=torch.tensor([0, 2, 4]),
        features=torch.zeros(5, 1),
        captions=["dog", "cat", "cow"],
        text_numbers=torch.tensor([0, 1, 2, 1, 3]),  # the second texts of rows 0 and 1 are equal
        group_names=["0", "1", "2"],
        group_captions=["dog", "cat", "cow"],
        labels=["", "", ""],
    )
    columns = rows.negatives(torch.tensor([0, 1, 2]), torch.tensor([1, 3, 4]))
    shared = (columns[:, None] == columns).any(dim=2)
    assert shared.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    columns = rows.negatives(torch.tensor([0, 1, 2]), torch.tensor([0, 3, 4]))
    assert (columns[:, None] == columns).any(dim=2).equal(torch.eye(3, dtype=torch.bool))
