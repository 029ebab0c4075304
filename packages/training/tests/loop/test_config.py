"""Options that cannot work are refused when the configuration is read, with a plain message."""

from __future__ import annotations

from typing import Any

import pytest

from edge_glass.encoders.components import ConfigError
from edge_glass.training.params import parse_params

SHARED = [
    ({"steps": 0}, "steps is 0, expected 1 or more"),
    ({"batch_size": 0}, "batch_size is 0, expected 1 or more"),
    ({"num_microbatches": 16}, "expected a power of two that divides the batch"),
    ({"num_microbatches": 3, "batch_size": 6}, "num_microbatches is 3 and batch_size is 6"),
    ({"num_microbatches": 0}, "num_microbatches is 0"),
    ({"num_microbatches": -2}, "num_microbatches is -2"),
    ({"log_steps": 0}, "log_steps is 0, expected 1 or more"),
    ({"checkpoint_steps": 0}, "checkpoint_steps is 0"),
    ({"certificate_steps": -1}, "certificate_steps is -1"),
    ({"validation_steps": -1}, "validation_steps is -1"),
    ({"patience": 0}, "patience is 0"),
    ({"steps": 1}, "optim.warmup_steps is 2 and steps is 1"),
    ({"optim": {"learning_rate": 0.0}}, "learning_rate is 0.0, expected a number of more than 0"),
    ({"optim": {"weight_decay": -0.1}}, "weight_decay is -0.1, expected 0 or more"),
    ({"optim": {"warmup_steps": -1}}, "warmup_steps is -1"),
    ({"optim": {"max_grad_norm": 0.0}}, "max_grad_norm is 0.0"),
    ({"optim": {"beta2": 1.0}}, "beta2 is 1.0, expected at least 0 and less than 1"),
    ({"num_shards": 2}, "unknown field 'num_shards'"),
]
ALIGN = [
    ({"validation_steps": 0}, "validation_steps is 0, expected 1 or more"),
    ({"collapse_steps": 0}, "collapse_steps is 0"),
    ({"matryoshka_dims": []}, "matryoshka_dims are []"),
    ({"matryoshka_dims": [8, 16]}, "expected positive numbers that strictly descend"),
    ({"matryoshka_dims": [8, 8]}, "strictly descend"),
    ({"matryoshka_dims": [8, 0]}, "strictly descend"),
    ({"matryoshka_weights": [1.0]}, "found 1 matryoshka_weights for 2 matryoshka_dims"),
    ({"matryoshka_weights": [1.0, -1.0]}, "expected none below 0"),
    ({"matryoshka_weights": [0.0, 0.0]}, "a sum above 0"),
    ({"n_dims_per_step": 2}, "n_dims_per_step"),
    ({"contrastive_weight": -1.0}, "contrastive_weight is -1.0"),
    ({"contrastive_weight": 0.0, "matryoshka_weight": 0.0}, "no loss to train on"),
    ({"caption_dropout": 1.0}, "caption_dropout is 1.0"),
    ({"text_dropout": 0.1}, "unknown field 'text_dropout'"),
    ({"pooling_learning_rate": 0.0}, "pooling_learning_rate is 0.0"),
    ({"head": {"image_dropout": 1.5}}, "image_dropout is 1.5"),
    ({"head": {"text_dropout": -0.5}}, "text_dropout is -0.5"),
    ({"head": {"hidden_width": 0}}, "hidden_width is 0"),
    ({"augmentation": {"min_area": 0.0}}, "min_area is 0.0"),
]
VLM_QA = [
    ({"max_questions": 0}, "max_questions is 0"),
    ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
    ({"projector_learning_rate": 0.0}, "projector_learning_rate is 0.0"),
    ({"ema_decay": 1.0}, "ema_decay is 1.0"),
    ({"max_new_tokens": 0}, "max_new_tokens is 0"),
    ({"max_length": 0}, "max_length is 0"),
    ({"num_workers": -1}, "num_workers is -1"),
    ({"validation_questions": 0}, "validation_questions is 0"),
]


@pytest.mark.parametrize(
    ("stage", "options", "message"),
    [("align", *case) for case in SHARED + ALIGN] + [("vlm_qa", *case) for case in SHARED + VLM_QA],
)
def test_an_option_that_cannot_work_is_named(
    params: dict[str, Any], stage: str, options: dict[str, Any], message: str
) -> None:
    table = params[stage]["tiny"]
    for name, value in options.items():
        table[name] = {**table.get(name, {}), **value} if isinstance(value, dict) else value
    with pytest.raises(ConfigError) as error:
        parse_params(params, where="params.yaml")
    assert str(error.value).startswith(f"params.yaml: {stage}.tiny")
    assert message in str(error.value)
