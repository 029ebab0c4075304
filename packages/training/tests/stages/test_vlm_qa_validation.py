"""Which score of the validation questions decides, and that it is the right number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.fusion.prompt import IGNORED, answer_ids
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import gather, prepared_rows
from edge_glass.training.folders import PREPARED
from edge_glass.training.params import Params
from edge_glass.training.stages import vlm_qa
from edge_glass.training.vlm_qa.model import build_model
from edge_glass.training.vlm_qa.validation import (
    deciding_score,
    validation_questions,
    validation_scores,
)

Configure = Callable[..., Params]


def test_validation_is_shared_without_a_difference(configure: Configure) -> None:
    params = configure(validation_questions=20, max_length=100)
    rows = prepared_rows("questions", "train", PREPARED)
    tokenizer = word_tokenizer([row["question"] + " " + row["answer"] for row in rows], 100)
    model = build_model(params, vlm_qa.read_index(), tokenizer)
    splits = validation_questions(
        ["train", "val", "val_other", "test"][:2], PREPARED, tokenizer, params.vlm_qa
    )
    assert list(splits) == ["val"]
    assert len(splits["val"].truths) == 20
    assert splits["val"].images.max() > 12  # from all over the split
    model.train()
    found = validation_scores(model, splits, Processes())
    assert {name: set(each) for name, each in found.items()} == {"accuracy": {"val", "mean"}}
    assert model.training


def test_the_loss_decides_if_the_answers_are_sentences(configure: Configure) -> None:
    params = configure(validation_questions=20, max_length=100)
    rows = prepared_rows("questions", "train", PREPARED)
    tokenizer = word_tokenizer([row["question"] + " " + row["answer"] for row in rows], 100)
    model = build_model(params, vlm_qa.read_index(), tokenizer).eval()
    splits = validation_questions(["val"], PREPARED, tokenizer, params.vlm_qa)
    split = splits["val"]
    words = ["is it red yes no it is yes red", "it is red is it yes no yes it is red"]
    split = dataclasses.replace(
        split,
        truths=[words[number % 2] for number in range(20)],
        answers=[answer_ids(tokenizer, words[number % 2]) for number in range(20)],
    )
    found = validation_scores(model, {"val": split}, Processes())
    assert list(found) == ["accuracy", "answer_loss"]
    assert deciding_score({"val": split}) == "answer loss"
    # the same, question by question
    total, count = 0.0, 0
    for image, prompt, answer in zip(split.images, split.prompts, split.answers, strict=True):
        ids = torch.tensor([[*prompt, *answer]])
        labels = torch.tensor([[*[IGNORED] * len(prompt), *answer]])
        features = gather(split.features, np.array([image]))
        output = model(features, ids, torch.zeros_like(ids), labels)
        logits = model.decoder.project(output.hidden_states[-1][:, :-1])
        total += torch.nn.functional.cross_entropy(
            logits[0], output.labels[0, 1:], ignore_index=IGNORED, reduction="sum"
        ).item()
        count += len(answer)
    # float32 in batches of eight, padded
    assert found["answer_loss"]["mean"] == pytest.approx(total / count, rel=1e-5)


def test_answers_at_once_follow_the_microbatch_if_no_number_is_given(configure: Configure) -> None:
    config = configure(
        batch_size=128, num_microbatches=16, max_questions=8, validation_batch_size=None
    ).vlm_qa
    assert config.answers_at_once == 64
    assert dataclasses.replace(config, num_microbatches=64).answers_at_once == 16
    assert dataclasses.replace(config, validation_batch_size=5).answers_at_once == 5
