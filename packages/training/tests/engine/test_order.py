"""Order is a function of (seed, step)."""

from __future__ import annotations

import pytest
import torch

from edge_glass.training.engine.order import epoch_order, step_batch


def test_an_epoch_sees_every_sample_once() -> None:
    batches = [step_batch(12, 4, seed=0, step=step) for step in range(3)]
    assert torch.cat(batches).sort().values.tolist() == list(range(12))
    assert torch.cat(batches).tolist() == epoch_order(12, seed=0, epoch=0).tolist()


def test_steps_need_no_history() -> None:
    assert torch.equal(step_batch(100, 7, seed=3, step=40), step_batch(100, 7, seed=3, step=40))
    assert not torch.equal(step_batch(100, 7, seed=3, step=0), step_batch(100, 7, seed=3, step=14))
    assert not torch.equal(step_batch(100, 7, seed=3, step=0), step_batch(100, 7, seed=4, step=0))


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size is 8, but there are only 7 samples"):
        step_batch(7, 8, seed=0, step=0)
