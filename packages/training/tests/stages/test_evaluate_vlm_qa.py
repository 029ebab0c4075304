"""Answers with their controls: the same at any batch size, and what the metrics say of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_glass.encoders.components import component
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig
from edge_glass.training.evaluation.answers import controls
from edge_glass.training.evaluation.answers.controls import answer_with_controls, cut_into_jobs
from edge_glass.training.features.cache import vision_features
from edge_glass.training.features.shards import ShardIndex, write_shard
from edge_glass.training.stages.evaluate_vlm_qa import score

NUMBERS = ("one", "two", "three", "four")
COLOURS = ("red", "green", "blue", "white", "black", "grey")
QUESTIONS = [
    f"{start} {middle} {colour} {end}?"
    for start, middle, colour, end in itertools.product(
        ("what is", "how many"),
        ("the", "of all the very"),
        COLOURS,
        ("dogs", "cars in the picture"),
    )
]
DECODERS: dict[str, dict[str, Any]] = {
    "trm": {"width": 32, "num_heads": 2, "intermediate_dim": 64},
    "qwen2_5_tiny": {
        "config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            # Qwen's 0.02 is meant for widths of thousands: at 32 all answers would be one
            "initializer_range": 0.3,
        }
    },
}
FUSIONS: dict[str, dict[str, Any]] = {
    "concat": {},
    "cross_attention": {"num_heads": 2},
    "gated": {"num_heads": 2, "gate_init": 1.0},
}


def build(decoder: str, fusion: str) -> VisionLanguageModel:
    torch.manual_seed(0)
    options = DECODERS[decoder]
    tokenizer = component("decoder", decoder, options, where="test").build_tokenizer(
        [*QUESTIONS, *NUMBERS]
    )
    values = {
        "format": "edge-glass-vlm/2",
        "vision_encoder": {"name": "efficientnet_lite0", "options": {}},
        "image_size": 96,
        "input_width": 24,
        "grid": [3, 3],
        "pooling": None,
        "fusion": {"name": fusion, "options": FUSIONS[fusion]},
        "decoder": {"name": decoder, "options": options},
        "visual_tokens": {"kind": "grid", "width": 20},
        "max_new_tokens": 6,
    }
    return VisionLanguageModel(VlmConfig.from_dict(values, where="test"), tokenizer).eval()


# each decoder once; all pairs are among the slow tests
QUICK = [("trm", "concat"), ("qwen2_5_tiny", "gated")]


@pytest.mark.parametrize(
    ("decoder", "fusion"),
    [
        pytest.param(*pair, marks=[] if pair in QUICK else [pytest.mark.slow])
        for pair in itertools.product(DECODERS, FUSIONS)
    ],
)
def test_predictions_are_the_same_at_any_batch_size(
    decoder: str, fusion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "AVERAGED", 3)
    folder = tmp_path / "questions/val"
    folder.mkdir(parents=True)
    features = np.random.default_rng(0).normal(size=(10, 9, 24)).astype(np.float16)
    entries = tuple(
        write_shard(folder / f"vision-{number:05d}.npy", folder, rows.shape, "float16", [rows])
        for number, rows in enumerate((features[:6], features[6:]))
    )
    index = ShardIndex(shape=features.shape, dtype="float16", rows_per_shard=6, shards=entries)
    index.save(folder / "vision.json")
    rows = [{"image": at % 10, "question": each} for at, each in enumerate(QUESTIONS)]
    model = build(decoder, fusion)
    stored = vision_features("questions", "val", tmp_path)
    one, seven, all_but = (
        answer_with_controls(model, rows, stored, size, "val") for size in (1, 7, 32)
    )
    assert one == seven == all_but
    # and those of each question with its own image
    own = torch.from_numpy(features).float()[[row["image"] for row in rows]]
    assert one["model"] == model.answer_features(own, QUESTIONS)
    mean = torch.from_numpy(features)[[0, 4, 8]].double().mean(dim=0).bfloat16().float()
    assert one["blind"] == model.answer_features(mean.expand_as(own), QUESTIONS)
    # and not because the models always say one thing
    assert len(set(one["model"])) > 5
    assert one["model"] != one["blind"]
    assert one["model"] != one["shuffled"]


def test_each_different_question_is_in_one_job_and_jobs_are_bounded() -> None:
    asked = sorted([(image, question) for image in range(7) for question in ("long", "a", "bb")])
    prompts = {question: [1] * len(question) for question in ("long", "a", "bb")}
    jobs = cut_into_jobs(asked, prompts, 4)
    assert sorted(each for job in jobs for each in job.asked) == asked
    for job in jobs:
        assert job.images == sorted({image for image, _ in job.asked})
        lengths = [len(prompts[question]) for _, question in job.asked]
        assert lengths == sorted(lengths)
        assert len(lengths) <= 8
    single = cut_into_jobs([(image, "a") for image in range(7)], prompts, 2)
    assert [len(job.images) for job in single] == [2, 2, 2, 1]


def test_metrics_hold_every_control() -> None:
    rows = [
        {"answer": answer, "type": kind}
        for answer, kind in (("two", "count"), ("3", "count"), ("a red car", "kind"))
    ]
    answers = {
        "model": ["two", "3", "the red dog"],
        "blind": ["two", "two", "dog"],
        "shuffled": ["one", "one", "red car"],
        "majority": ["two", "two", "red car"],
    }
    assert score(answers, rows, {}) == {
        "accuracy": pytest.approx(2 / 3),
        "f1": pytest.approx((1 + 1 + 0.5) / 3),
        "blind": pytest.approx(1 / 3),
        "shuffled": pytest.approx(1 / 3),
        "majority": pytest.approx(2 / 3),
        "visual_reliance": pytest.approx(1 / 3),
        "by_type": {"count": 1.0, "kind": 0.0},
        "f1_by_type": {"count": 1.0, "kind": 0.5},
        "blind_by_type": {"count": 0.5, "kind": 0.0},
        "vqa_v2_exact_match": pytest.approx(2 / 3),
    }


def test_long_answers_get_bleu_and_rouge() -> None:
    text = "a small brown dog lies under the wooden table"
    rows = [{"answer": text, "type": "describe"}]
    names = ("model", "blind", "shuffled", "majority")
    metrics = score({name: [text] for name in names}, rows, {})
    assert (metrics["bleu"], metrics["rouge_l"]) == (pytest.approx(1.0), pytest.approx(1.0))
