"""Epochs of questions and captions, by weight."""

from __future__ import annotations

import pytest

from edge_glass.encoders.components import ConfigError, validate
from edge_glass.training.vlm_qa.batches import BatchPlan
from edge_glass.training.vlm_qa.mixture import Mixture, MixtureConfig
from edge_glass.training.vlm_qa.token_arrays import PackedQuestions, token_arrays


def test_one_source_is_all_samples_in_order() -> None:
    for weights in ((1.0, 0.0), (0.2, 0.0)):
        mixture = Mixture([10, 4], weights, seed=0)
        assert [mixture.epoch(number) for number in (0, 3)] == [list(range(10))] * 2
    captions = Mixture([10, 4], (0.0, 2.0), seed=0)
    assert captions.epoch(1) == [10, 11, 12, 13]


def test_weights_are_shares_and_every_caption_comes_in_turn() -> None:
    mixture = Mixture([40, 25], (2.0, 1.0), seed=3)
    epochs = [mixture.epoch(number) for number in range(5)]
    assert len(mixture) == 60
    assert all(epoch[:40] == list(range(40)) and len(epoch) == 60 for epoch in epochs)
    drawn = [number for epoch in epochs for number in epoch[40:]]
    # 100 draws of 25: four whole cycles, each in its own order
    for start in range(0, 100, 25):
        assert sorted(drawn[start : start + 25]) == list(range(40, 65))
    assert drawn[:25] != drawn[25:50]


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    weights = (1.0, 0.5)
    last = Mixture([40, 25], weights, seed=0).epoch(7)
    assert last == Mixture([40, 25], weights, seed=0).epoch(7)
    assert last != Mixture([40, 25], weights, seed=1).epoch(7)
    # more captions than there are: some come twice in an epoch
    assert len(Mixture([40, 3], (1.0, 1.0), seed=0).epoch(0)) == 80


def test_a_small_weight_gets_one_sample_and_no_weight_none() -> None:
    assert len(Mixture([40, 3], (1.0, 0.01), seed=0).epoch(0)) == 41
    assert len(Mixture([40, 3], (1.0, 0.0), seed=0).epoch(0)) == 40


def test_captions_come_first_and_then_the_questions_as_ever() -> None:
    samples = [
        PackedQuestions(
            image=number, input_ids=(1,) * (number % 7 + 2), labels=(1,) * (number % 7 + 2),
            segment_ids=(0,) * (number % 7 + 2),
        )
        for number in range(60)
    ]  # fmt: skip
    alone = BatchPlan(token_arrays(samples[:40]), 8, 2, seed=0)
    both = BatchPlan(
        token_arrays(samples), 8, 2, seed=0,
        mixture=Mixture([40, 20], (1.0, 0.0), 0), first=(7, Mixture([40, 20], (0.0, 1.0), 0)),
    )  # fmt: skip
    assert all(number >= 40 for step in range(7) for number in both.batch(step))
    assert [both.batch(7 + step) for step in range(12)] == [alone.batch(step) for step in range(12)]
    with pytest.raises(ValueError, match="only 4 images"):
        BatchPlan(token_arrays(samples[:44]), 8, 2, 0, mixture=Mixture([40, 4], (0.0, 1.0), 0))


def test_weights_that_are_no_weights_are_refused() -> None:
    far = {"questions": 1e-9, "captions": 1.0}  # an epoch of billions of samples
    for wrong in ({"questions": -1.0}, {"questions": 0.0}, {"pictures": 1.0}, far):
        with pytest.raises(ConfigError):
            validate(MixtureConfig, wrong, where="test")
