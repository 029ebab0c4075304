"""Order is a function of (seed, step)."""

from __future__ import annotations

import pytest
import torch

from edge_glass.training.engine.order import epoch_order, fitted_batch_size, step_batch


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


@pytest.mark.parametrize(
    ("batch_size", "num_microbatches", "num_samples", "expected"),
    [
        (16, 4, 100, 16),
        (16, 4, 16, 16),
        (16, 4, 15, 12),
        (16, 4, 4, 4),
        (16, 1, 3, 3),
        (1, 1, 1, 1),
    ],
)
def test_a_batch_is_reduced_to_what_the_samples_fill(
    batch_size: int, num_microbatches: int, num_samples: int, expected: int
) -> None:
    size = fitted_batch_size(batch_size, num_microbatches, num_samples, "align")
    assert size == expected


def test_fewer_samples_than_microbatches_name_the_option() -> None:
    with pytest.raises(
        ValueError, match=r"align: .* 3 samples for num_microbatches 4, .* set align"
    ):
        fitted_batch_size(16, 4, 3, "align")
