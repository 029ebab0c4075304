from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_glass.training.loop.ema import ExponentialMovingAverage


def trained(steps: int, model: nn.Linear, ema: ExponentialMovingAverage, seed: int) -> None:
    for step in range(steps):
        torch.manual_seed(seed + step)
        with torch.no_grad():
            model.weight.add_(torch.randn_like(model.weight))
        ema.update()


def test_average_follows_its_definition_and_skips_frozen_weights() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    ema = ExponentialMovingAverage(model, decay=0.9)
    expected = model.weight.detach().clone()
    for step in range(5):
        torch.manual_seed(step)
        with torch.no_grad():
            model.weight.add_(torch.randn_like(model.weight))
        ema.update()
        expected = 0.9 * expected + 0.1 * model.weight.detach()
    assert set(ema.averages()) == {"weight"}
    # five steps, each rounded twice
    torch.testing.assert_close(ema.averages()["weight"], expected, atol=1e-6, rtol=1e-6)


def test_applied_puts_the_average_in_and_the_weights_back() -> None:
    model = nn.Linear(3, 2)
    ema = ExponentialMovingAverage(model, decay=0.9)
    trained(3, model, ema, seed=0)
    weight = model.weight.detach().clone()
    with ema.applied():
        assert torch.equal(model.weight, ema.averages()["weight"])
    assert torch.equal(model.weight, weight)

    def interrupted() -> None:
        with ema.applied():
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert torch.equal(model.weight, weight)


def test_resumed_average_is_equal_bit_by_bit() -> None:
    model = nn.Linear(3, 2)
    ema = ExponentialMovingAverage(model, decay=0.999)
    trained(4, model, ema, seed=0)
    saved = {name: value.clone() for name, value in ema.averages().items()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    trained(3, model, ema, seed=10)

    resumed = nn.Linear(3, 2)
    resumed.load_state_dict(weights)
    other = ExponentialMovingAverage(resumed, decay=0.999)
    for name, average in other.averages().items():  # in place, as a saved state is restored
        average.copy_(saved[name])
    trained(3, resumed, other, seed=10)
    for name, value in ema.averages().items():
        assert torch.equal(value, other.averages()[name])


def test_a_decay_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"decay is 1\.0"):
        ExponentialMovingAverage(nn.Linear(3, 2), decay=1.0)
