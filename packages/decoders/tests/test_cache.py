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


def test_selected_rows_are_a_copy_that_grows_alone() -> None:
    cache = KeyValueCache()
    keys, values = torch.randn(3, 5, 2, 4), torch.randn(3, 5, 2, 4)
    cache.extend(0, keys, values)
    cache.advance(5)
    new = torch.randn(4, 2, 2, 4)
    rows = torch.tensor([2, 0, 2, 1])
    for _ in range(2):  # a second text finds the original as it was
        chosen = cache.select(rows)
        got = chosen.extend(0, new, -new)
        assert torch.equal(got[0], torch.cat((keys[rows], new), dim=1))
        assert torch.equal(got[1], torch.cat((values[rows], -new), dim=1))
        chosen.advance(2)
    assert (cache.length, chosen.length) == (5, 7)
