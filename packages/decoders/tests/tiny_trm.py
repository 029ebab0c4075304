"""A recursive decoder small enough for tests, in the variants that each rule must hold for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from edge_glass.decoders.trm import TinyRecursiveConfig, TinyRecursiveDecoder

WIDTH, VOCAB = 32, 40
# float32: the same sums over at most 64 products in a different order, a dozen layers deep
TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}
VARIANTS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "pre", "num_cycles": 3, "tie_word_embeddings": False},
        {"num_supervision_steps": 2, "num_latent_updates": 1},
    ],
    ids=["default", "pre-norm", "two-steps"],
)


def decoder(**options: Any) -> TinyRecursiveDecoder:
    torch.manual_seed(0)
    fields: dict[str, Any] = {"width": WIDTH, "num_heads": 2, "intermediate_dim": 64}
    return TinyRecursiveDecoder(TinyRecursiveConfig(**fields | options), VOCAB).eval()


def kept(batch: int, length: int) -> Tensor:
    return torch.ones(batch, length, dtype=torch.long)


def logits(model: TinyRecursiveDecoder, x: Tensor, mask: Tensor, **arguments: Any) -> Tensor:
    return model.project(model(x, mask, **arguments).hidden_states[-1])
