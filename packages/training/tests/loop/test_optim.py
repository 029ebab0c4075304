"""The schedule's shape, and who decays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edge_glass.training.loop.optim import (
    OptimConfig,
    build_adamw,
    learning_rate_factor,
    set_learning_rate,
)

CONFIG = OptimConfig(learning_rate=0.1, weight_decay=0.5, warmup_steps=4)


def test_warm_up_then_cosine() -> None:
    factors = [learning_rate_factor(step, steps=12, warmup_steps=4) for step in range(13)]
    assert factors[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert factors[8] == pytest.approx(0.5)
    assert factors[6] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert factors[12] == pytest.approx(0.0)


def test_matrices_decay_and_vectors_do_not() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    optimizer = build_adamw([(model[0], 0.1), (model, 0.2)], CONFIG)
    found = [
        (len(group["params"]), group["peak_lr"], group["weight_decay"])
        for group in optimizer.param_groups
    ]
    # the linear's weight, its bias, then the norm's two vectors: each parameter once
    assert found == [(1, 0.1, 0.5), (1, 0.1, 0.0), (2, 0.2, 0.0)]
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.05, 0.1]


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    optimizer = build_adamw([(model, 0.1)], CONFIG)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 1


def test_a_step_against_the_formula() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = build_adamw([(weight, 0.1)], CONFIG)
    weight.grad = torch.full((2, 2), 3.0)
    optimizer.step()
    # first step of AdamW: decay by lr * wd, then lr * g / (|g| + eps)
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 1 - 0.05 - 0.1))
