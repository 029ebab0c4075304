"""A saved state continues a run with the same bytes, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edge_glass.training.loop.state import RunState, StateFile


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(model: nn.Linear, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()


def fresh() -> tuple[nn.Linear, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)


def test_a_resumed_run_equals_an_uninterrupted_one() -> None:
    whole, optimizer = fresh()
    train(whole, optimizer, range(6))

    first, optimizer = fresh()
    train(first, optimizer, range(4))
    history = [{"step": 4.0, "loss": 0.1}]
    StateFile("x", "mark").save(
        RunState(step=4, history=history), dict(first.named_parameters()), optimizer
    )
    second, optimizer = fresh()
    state = StateFile("x", "mark").restore(dict(second.named_parameters()), optimizer)
    assert (state.step, state.history) == (4, history)
    train(second, optimizer, range(state.step, 6))
    assert torch.equal(whole.weight, second.weight)
    assert torch.equal(whole.bias, second.bias)


def test_a_different_fingerprint_starts_from_step_0() -> None:
    model, optimizer = fresh()
    train(model, optimizer, range(1))
    tensors = dict(model.named_parameters())
    StateFile("x", "one").save(RunState(step=1), tensors, optimizer)
    before = model.weight.detach().clone()
    assert StateFile("x", "two").restore(tensors, optimizer).step == 0
    assert torch.equal(model.weight, before)
    StateFile("x", "one").clear()
    assert StateFile("x", "one").restore(tensors, optimizer).step == 0


def test_a_different_model_is_refused() -> None:
    model, optimizer = fresh()
    StateFile("x", "mark").save(RunState(), {"weight": model.weight}, optimizer)
    with pytest.raises(ValueError, match=r"tensors differ .*tensor\.bias"):
        StateFile("x", "mark").restore(dict(model.named_parameters()), optimizer)
