"""Descriptions against captions, and against their image."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.training.evaluation.answers.descriptions import (
    agreement_metrics,
    captions_by_image,
    word_metrics,
)

CAPTIONS = [
    ["a small brown dog lies under the table", "a dog under a table"],
    ["two red cars stand in front of a house"],
]


def test_the_best_caption_counts() -> None:
    perfect = word_metrics([each[-1] for each in CAPTIONS], CAPTIONS)
    assert (perfect["bleu"], perfect["rouge_l"]) == (pytest.approx(1.0), pytest.approx(1.0))
    swapped = word_metrics([CAPTIONS[1][0], CAPTIONS[0][1]], CAPTIONS)
    assert swapped["bleu"] < 0.1
    assert swapped["rouge_l"] < 0.3


def test_cider_is_high_for_words_that_only_this_image_has() -> None:
    pytest.importorskip("pycocoevalcap", reason="the extra `cider` is not installed")
    perfect = word_metrics(["A dog under a table!", *CAPTIONS[1]], CAPTIONS)["cider"]
    partly = word_metrics(["a dog under a table", "two red boats"], CAPTIONS)["cider"]
    none = word_metrics([CAPTIONS[1][0], CAPTIONS[0][1]], CAPTIONS)["cider"]
    # 10 is the score of an only reference that is met in every n-gram; the dog has two captions
    assert 5 < perfect < 10
    assert none < 0.5 < partly < perfect


def test_captions_belong_to_their_image() -> None:
    rows = [{"image": at, "caption": text} for at, text in ((1, "x"), (0, "y"), (1, "z"))]
    assert captions_by_image(rows, 2) == [["y"], ["x", "z"]]


@pytest.mark.slow
@pytest.mark.usefixtures("restore_torch")
def test_agreement_is_the_mean_cosine(aligned: Path) -> None:
    dual = DualEncoder.from_pretrained(aligned / "models/align", load_encoders=False)
    dual.add_encoders(text=True)
    torch.manual_seed(0)
    features = torch.randn(3, math.prod(dual.config.grid), dual.config.image_width)
    captions = [["a dog"], ["a red car"], ["a house"]]
    given = ["a dog", "a blue car", "a tree"]
    found = agreement_metrics(dual, features.numpy(), given, captions, batch_size=2)
    with torch.no_grad():
        images = F.normalize(dual.image_embeddings(features), dim=1)
        table = images @ dual.encode_text([*given, "a red car", "a house"]).T
    # float32 sums of 16 products
    assert found["agreement"] == pytest.approx(float(table[[0, 1, 2], [0, 1, 2]].mean()), abs=1e-5)
    assert found["agreement_of_captions"] == pytest.approx(
        float(table[[0, 1, 2], [0, 3, 4]].mean()), abs=1e-5
    )
    # half-way round three images is one image further on
    assert found["agreement_shuffled"] == pytest.approx(
        float(table[[2, 0, 1], [0, 1, 2]].mean()), abs=1e-5
    )
