"""The cache of a decoder of transformers as plain tensors, see `growing_cache.py`."""

from __future__ import annotations

from torch import Tensor
from transformers import DynamicCache


class GrowingDynamicCache(DynamicCache):
    """Keys and values (B, H, S, head width) of each layer."""

    def __init__(self, past: list[Tensor]) -> None:
        pairs = list(zip(past[::2], past[1::2], strict=True))
        super().__init__(pairs or None)

    def tensors(self) -> list[Tensor]:
        """Returns keys and values of each layer, past and new positions together."""
        found: list[Tensor] = []
        for layer in self.layers:
            assert layer.keys is not None
            assert layer.values is not None
            found += [layer.keys, layer.values]
        return found
