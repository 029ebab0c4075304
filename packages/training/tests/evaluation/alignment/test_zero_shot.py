"""Zero-shot classification against a reference of a few lines, as CLIP's authors compute it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edge_glass.encoders.components import ConfigError, validate
from edge_glass.encoders.files import DataError
from edge_glass.training.evaluation.alignment.config import ZeroShotConfig
from edge_glass.training.evaluation.alignment.embedded_split import EmbeddedSplit
from edge_glass.training.evaluation.alignment.zero_shot import (
    classify_splits,
    top_k,
    unmatched_groups,
)
from edge_glass.training.features.captions import CaptionRows

DIMS = (16, 4)


def reference(
    images: np.ndarray[Any, Any], classes: list[int], prompts: np.ndarray[Any, Any], k: int
) -> float:
    """The mean of normalised prompts, then the k best classes of each image."""
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    weights = []
    for of_class in prompts:
        each = of_class / np.linalg.norm(of_class, axis=1, keepdims=True)
        mean = each.mean(axis=0)
        weights.append(mean / np.linalg.norm(mean))
    best = np.argsort(-images @ np.array(weights).T, axis=1)[:, :k]
    return float(np.mean([right in row for right, row in zip(classes, best, strict=True)]))


def test_top_k_is_that_of_the_reference() -> None:
    draw = np.random.default_rng(0)
    prompts = draw.normal(size=(12, 3, 16)) * draw.uniform(0.1, 9, size=(12, 3, 1))
    classes = draw.integers(0, 12, 200)
    images = prompts[classes].mean(axis=1) + 6 * draw.normal(size=(200, 16))
    found = top_k(*map(torch.tensor, (images, classes, prompts)), DIMS)
    for dim in DIMS:
        for k in (1, 5):
            expected = reference(images[:, :dim], classes.tolist(), prompts[..., :dim], k)
            assert 0.1 < expected < 0.99
            assert found[str(dim)][f"top_{k}"] == expected


def test_equal_scores_count_against_the_model() -> None:
    same = torch.ones(3, 1, 16)
    scores = top_k(torch.ones(2, 16), torch.tensor([0, 1]), same, DIMS)
    assert scores["16"] == {"top_1": 0.0, "top_5": 1.0}


class Model:
    """A dual encoder whose text embeddings are one-hot by the prompt's last word."""

    config = type("Config", (), {"matryoshka_dims": (8, 4)})
    words = ("dog", "cat", "car", "bus", "sun", "sea", "owl", "elk")

    def encode_text(self, texts: list[str], *, batch_size: int) -> torch.Tensor:
        assert batch_size > 1
        return torch.eye(8)[[self.words.index(text.split()[-1]) for text in texts]]


def rows(groups: list[str], of_image: list[int]) -> CaptionRows:
    captions = [f"{group}. more about it" for group in groups]
    fields: dict[str, Any] = dict.fromkeys(CaptionRows.__annotations__)
    fields |= {"group_names": groups, "group_captions": captions}
    return CaptionRows(**{**fields, "groups": torch.tensor(of_image)})


def split(groups: list[str], of_image: list[int], seen_as: list[str]) -> EmbeddedSplit:
    fields: dict[str, Any] = dict.fromkeys(EmbeddedSplit.__annotations__)
    image = torch.eye(8)[[Model.words.index(word) for word in seen_as]]
    return EmbeddedSplit(**{**fields, "rows": rows(groups, of_image), "image": image})


SPLITS = {
    "val_vendor": split(["dog", "cat"], [0, 1, 1], ["dog", "cat", "car"]),
    "val_concept": split(["sun", "sea"], [0, 1], ["sun", "sun"]),
}
TRAIN = rows(["dog", "cat", "car", "bus"], [0, 1, 2, 3])


@pytest.mark.parametrize("names", ["group", "first_sentence"])
def test_a_split_chooses_among_its_classes_and_those_of_training(names: Any) -> None:
    config = ZeroShotConfig(class_names=names, templates=("a {}", "the {}"))
    found = classify_splits(Model(), SPLITS, TRAIN, config)  # type: ignore[arg-type]
    assert found["val_vendor"]["classes"] == 4
    assert found["val_vendor"]["8"] == {"top_1": pytest.approx(2 / 3), "top_5": 1.0}
    assert found["val_concept"]["classes"] == 2  # training has seen neither
    assert found["val_concept"]["8"] == {"top_1": 0.5, "top_5": 1.0}


def test_a_table_names_some_of_the_groups() -> None:
    config = ZeroShotConfig(class_names={"cat": "a cat", "dog": "the dog"})
    found = classify_splits(Model(), SPLITS, TRAIN, config)  # type: ignore[arg-type]
    assert list(found) == ["val_vendor"]
    assert found["val_vendor"]["classes"] == 2
    with pytest.raises(
        DataError, match="the groups tree and the data have none of them; found dog"
    ):
        classify_splits(Model(), SPLITS, TRAIN, ZeroShotConfig(class_names={"tree": "a tree"}))  # type: ignore[arg-type]


def test_groups_that_a_table_and_the_data_do_not_share_are_counted() -> None:
    config = ZeroShotConfig(class_names={"cat": "a cat", "dgo": "a dog"})
    assert unmatched_groups(config, ["dog", "cat", "sun", "cat"]) == [
        "1 of 2 groups of zero_shot.class_names are in no split: 'dgo' (did you mean dog?)",
        "2 of 3 groups of the data have no class name and are left out: 'dog', 'sun'",
    ]
    many = unmatched_groups(config, ["cat", "dgo", *"abcdefg"])
    assert many == [
        "7 of 9 groups of the data have no class name and are left out: 'a', 'b', 'c', 'd', 'e', "
        "..."
    ]
    assert not unmatched_groups(config, ["dgo", "cat"])
    assert not unmatched_groups(ZeroShotConfig(class_names="group"), ["dog"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": "group", "templates": ["a dog"]}, "one or more texts with one {} each"),
        ({"class_names": "group", "templates": []}, "one or more texts with one {} each"),
        ({"class_names": "grup"}, "class_names"),
        ({"class_names": {"a": ""}}, "expected names, none empty"),
        ({}, "class_names"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(ZeroShotConfig, options, where="params.yaml")
