from __future__ import annotations

import math

import torch

from edge_glass.fusion.patch_readings import PatchReadings
from edge_glass.training.vlm_qa.naming_loss import naming_loss

NAMES = (10, 11, 12, 13)


def names() -> PatchReadings:
    """Four names along the axes; a cosine counts twice."""
    readings = PatchReadings(4, 4, 1.0)
    readings.vectors.copy_(torch.eye(4))
    readings.token_ids.copy_(torch.tensor(NAMES))
    readings.log_sharpness.data.fill_(math.log(2.0))
    return readings


def test_a_name_competes_with_those_that_nobody_mentions() -> None:
    patches = torch.zeros(1, 2, 4)
    patches[0, 0, 0] = patches[0, 1, 3] = 1.0  # the first patch shows 10, the second 13
    ids = torch.tensor([[1, 11, 2, 10, 10]])  # the question has 11
    labels = torch.tensor([[-100, -100, -100, 10, 10]])
    found = naming_loss(names(), patches, ids, labels)
    # 10 once, though two answers have it, against 12 and 13
    expected = -math.log(math.exp(2) / (math.exp(2) + math.exp(0) + math.exp(2)))
    torch.testing.assert_close(found, torch.tensor(expected))


def test_images_add_up_and_an_image_without_names_adds_nothing() -> None:
    patches = torch.nn.functional.normalize(torch.randn(3, 5, 4), dim=-1)
    ids = torch.tensor([[10, 12], [1, 2], [13, 11]])
    whole = naming_loss(names(), patches, ids, ids)
    alone = [
        naming_loss(names(), patches[row][None], ids[row][None], ids[row][None]) for row in range(3)
    ]
    torch.testing.assert_close(whole, torch.stack(alone).sum())
    assert alone[1] == 0


def test_an_image_with_all_names_has_no_loss_and_a_gradient_of_zero() -> None:
    patches = torch.randn(1, 2, 4, requires_grad=True)
    ids = torch.tensor([NAMES])
    loss = naming_loss(names(), patches, ids, ids)
    loss.backward()
    assert loss == 0
    assert patches.grad is not None
    assert not patches.grad.any()
