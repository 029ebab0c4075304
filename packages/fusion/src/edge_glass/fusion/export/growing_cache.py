"""Caches of decoders as plain tensors: a graph takes the past and returns the present.

The recursive decoder's own cache writes into buffers in place, which a graph can't express. That of
a model of transformers already returns new tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edge_glass.decoders.base import Decoder
from edge_glass.decoders.cache import KeyValueCache
from edge_glass.decoders.causal_lm import CausalLmCache, CausalLmDecoder
from edge_glass.decoders.trm import TinyRecursiveDecoder


class GrowingCache(KeyValueCache):
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


@dataclass(frozen=True, kw_only=True)
class Past:
    """A decoder's cache that holds given tensors.

    Attributes:
        cache: for `Decoder.forward`.
        num_positions: positions that it holds.
    """

    cache: Any
    num_positions: Any  # a number, or a symbol of torch.export

    def present(self) -> list[Tensor]:
        """Returns keys and values of all positions, after a call of the decoder."""
        if isinstance(self.cache, GrowingCache):
            return self.cache.present
        layers = self.cache.keys_values.layers
        return [each for layer in layers for each in (layer.keys, layer.values)]


def past_of(decoder: Decoder, tensors: list[Tensor]) -> Past:
    """Builds a decoder's cache from its tensors; none of them is an empty past.

    Raises:
        ValueError: if the decoder's cache is not known here.
    """
    if isinstance(decoder, TinyRecursiveDecoder):
        cache = GrowingCache(tensors)
        return Past(cache=cache, num_positions=cache.length)
    if isinstance(decoder, CausalLmDecoder):
        from transformers import DynamicCache

        pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
        if not pairs:
            return Past(cache=CausalLmCache(keys_values=DynamicCache()), num_positions=0)
        batch, _, length, _ = tensors[0].shape
        positions = torch.arange(length, device=tensors[0].device).expand(batch, -1)
        filled = CausalLmCache(keys_values=DynamicCache(pairs), positions=positions)
        return Past(cache=filled, num_positions=length)
    raise ValueError(
        f"the decoder {type(decoder).__name__} can't be exported, only trm and causal_lm"
    )


def cache_axis(decoder: Decoder) -> int:
    """Returns the axis of a cached tensor that grows with the positions."""
    return 1 if isinstance(decoder, TinyRecursiveDecoder) else 2


def max_positions(decoder: Decoder) -> int | None:
    """Returns the limit of a decoder's context, None if it has none."""
    if isinstance(decoder, TinyRecursiveDecoder):
        return decoder.config.max_positions
    return decoder.facts.max_positions if isinstance(decoder, CausalLmDecoder) else None
