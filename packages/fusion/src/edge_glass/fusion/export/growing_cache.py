"""Caches of decoders as plain tensors: a graph takes the past and returns the present.

The decoders' own caches write into buffers in place, which a graph can't express.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edge_glass.decoders.base import Decoder
from edge_glass.decoders.cache import KeyValueCache
from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.trm import TinyRecursiveDecoder

class GrowingKeyValueCache(KeyValueCache):
    """The cache of a recursive decoder: keys and values (B, S, H, head width) of each call."""

    def __init__(self, past: list[Tensor]) -> None:
        super().__init__()
        self.past = past
        self.present: list[Tensor] = []
        self.length = past[0].shape[1] if past else 0

    def extend(self, call: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.past:
            keys = torch.cat([self.past[2 * call], keys], dim=1)
            values = torch.cat([self.past[2 * call + 1], values], dim=1)
        self.present += [keys, values]
        return keys, values

    def tensors(self) -> list[Tensor]:
        """Returns keys and values of each call, past and new positions together."""
        return self.present


def growing_cache(decoder: Decoder, past: list[Tensor]) -> tuple[Any, Any]:
    """Returns a cache that holds a past, which may be empty, and the number of its positions.

    Raises:
        ValueError: if the decoder is not one of this project's.
    """
    if isinstance(decoder, TinyRecursiveDecoder):
        cache = GrowingKeyValueCache(past)
        return cache, cache.length
    if isinstance(decoder, CausalLmDecoder):
        from edge_glass.fusion.export.growing_dynamic_cache import GrowingDynamicCache

        dynamic = GrowingDynamicCache(past)
        return dynamic, past[0].shape[2] if past else 0
    raise ValueError(
        f"the decoder {type(decoder).__name__} can't be exported, only trm and causal_lm"
    )


def cache_axis(decoder: Decoder) -> int:
    """Returns the axis of a cached tensor that grows with the positions."""
    return 1 if isinstance(decoder, TinyRecursiveDecoder) else 2
