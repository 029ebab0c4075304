"""The classes of a tower's classifier: rows, texts, and which numbers of a token a row fills."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from edge_glass.encoders.towers.classifier import imagenet_rows, imagenet_texts
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
from edge_glass.encoders.towers.grid_average import GridAverage

SAMPLE = EfficientNetLite0Config(layers=("stage2", "head"), fold=False, image_size=64)


def test_the_texts_are_those_of_the_classes_in_order() -> None:
    texts = imagenet_texts()
    assert len(texts) == 1000
    assert all(3 <= len(each) <= 5 for each in texts)
    assert texts[0][:3] == ("tench", "Tinca tinca", "A photo of a tench.")
    assert texts[207][:2] == ("golden retriever", "A photo of a golden retriever.")
    assert texts[5][3] == "A photo of an electric ray."
    assert texts[999][0] == "toilet tissue"


def test_a_row_lies_where_the_classifier_reads_a_token() -> None:
    encoder = SAMPLE.build()
    rows = encoder.classifier_rows()
    assert rows is not None
    assert rows.tokens.shape == (1000, encoder.width) == (1000, 24 + 1280)
    assert not rows.tokens[:, :24].any()
    weight = encoder.network.classifier_weight
    centred = weight - weight.mean(dim=1, keepdim=True)
    expected = centred / centred.square().mean(dim=1, keepdim=True).add(1e-5).sqrt()
    # the same numbers in a different order of sums
    torch.testing.assert_close(rows.tokens[:, 24:], expected, atol=1e-5, rtol=1e-5)
    averaged = GridAverage(encoder, (1, 1)).classifier_rows()
    assert averaged is not None
    assert torch.equal(averaged.tokens, rows.tokens)


@pytest.mark.parametrize(
    "change",
    [{"layers": ("stage2",)}, {"normalize": False}, {"fold": True, "grid": 1}],
    ids=["without the head", "other scale", "folded"],
)
def test_tokens_that_no_row_fits_have_no_classes(change: dict[str, object]) -> None:
    assert dataclasses.replace(SAMPLE, **change).build().classifier_rows() is None


def test_a_classifier_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(5, 8\), expected \(1000, width\)"):
        imagenet_rows(torch.zeros(5, 8))
