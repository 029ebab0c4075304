"""The name of a split decides what it is for."""

from __future__ import annotations

import pytest

from edge_glass.training.runtime.split_names import (
    held_out_splits,
    is_validation,
    splits_to_show,
    validation_splits,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("val", "val_vendor", "valid", "validation", "Val", "val2017")),
        *((name, True) for name in ("dev", "dev_clean", "dev-2", "DEV", "dev2", "development")),
        *((name, False) for name in ("train", "test", "testval", "eval", "devices", "holdout")),
    ],
)
def test_validation_splits_are_known_by_their_names(name: str, expected: bool) -> None:
    assert is_validation(name) == expected


def test_what_is_validated_scored_and_shown() -> None:
    names = ["test", "train", "val_b", "dev", "eval"]
    assert validation_splits(names) == ["dev", "val_b"]
    assert held_out_splits(names) == ["test", "val_b", "dev", "eval"]
    assert splits_to_show(names) == ["val_b", "dev"]
    assert splits_to_show(["eval", "train"]) == ["eval"]
    assert splits_to_show(["train"]) == ["train"]
