from __future__ import annotations

import torch

from edge_glass.decoders.cache import KeyValueCache


def test_each_call_keeps_its_own_past_while_buffers_grow() -> None:
    cache = KeyValueCache()
    lengths = (5, 1, 40, 1, 90)  # beyond the first capacity twice
    keys = [[torch.randn(2, n, 3, 4) for n in lengths] for _ in range(2)]
    values = [[torch.randn(2, n, 3, 4) for n in lengths] for _ in range(2)]
    for step, length in enumerate(lengths):
        for call in range(2):
            got = cache.extend(call, keys[call][step], values[call][step])
            assert torch.equal(got[0], torch.cat(keys[call][: step + 1], dim=1))
            assert torch.equal(got[1], torch.cat(values[call][: step + 1], dim=1))
        cache.advance(length)
    assert cache.length == sum(lengths)
