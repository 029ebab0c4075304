"""Mean pooling against its formula."""

from __future__ import annotations

import pytest
import torch

from edge_glass.encoders.mean_pooling import MeanPoolingConfig


def test_it_is_the_mean_of_the_normalised_patches() -> None:
    pooling = MeanPoolingConfig().build(12, (2, 3))
    features = torch.randn(5, 6, 12, generator=torch.Generator().manual_seed(0))
    centred = features - features.mean(dim=2, keepdim=True)
    units = centred / centred.square().mean(dim=2, keepdim=True).add(1e-5).sqrt()
    mean = units.mean(dim=1, keepdim=True)
    centred = mean - mean.mean(dim=2, keepdim=True)
    expected = centred / centred.square().mean(dim=2, keepdim=True).add(1e-5).sqrt()
    # the same operations in a different order
    torch.testing.assert_close(pooling(features), expected, atol=1e-5, rtol=1e-5)
    assert (pooling.num_tokens, pooling.width) == (1, 12)
    assert pooling.attention_weights(features) is None
    with pytest.raises(ValueError, match=r"features have shape \(5, 4, 12\), expected \(batch, 6"):
        pooling(features[:, :4])
