"""Attention pooling against the same attention head by head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_glass.encoders.attention_pooling import AttentionPooling, AttentionPoolingConfig

GRID = (2, 3)


def build(seed: int = 0, **options: object) -> AttentionPooling:
    fields = {"num_queries": 3, "width": 16, "num_heads": 4, **options}
    torch.manual_seed(seed)
    return AttentionPoolingConfig(**fields).build(20, GRID)


def features(batch: int = 2) -> Tensor:
    return torch.randn(batch, 6, 20, generator=torch.Generator().manual_seed(3))


def test_it_is_attention_of_learned_queries_to_normalised_projected_tokens() -> None:
    pooling = build()
    torch.nn.init.normal_(pooling.queries)  # large, so that the attention is far from even
    assert pooling.positions is not None
    x = pooling.input_projection(F.layer_norm(features(), (20,)))
    keys, values = pooling.key(x) + pooling.positions, pooling.value(x)
    heads = []
    for part in torch.arange(16).split(4):  # the heads, one by one
        scores = pooling.queries[:, part] @ keys[:, :, part].transpose(1, 2) / 4**0.5
        heads.append(scores.softmax(-1) @ values[:, :, part])
    expected = F.layer_norm(pooling.output(torch.cat(heads, -1)), (16,))
    assert pooling(features()).shape == (2, 3, 16)
    # float32, sums in a different order, before a layer norm
    torch.testing.assert_close(pooling(features()), expected, atol=1e-5, rtol=1e-4)


def test_without_a_bottleneck_a_query_is_a_weighted_mean_of_the_features() -> None:
    pooling = build(width=None, key_dim=8, num_heads=2)
    torch.nn.init.normal_(pooling.queries)
    assert pooling.positions is not None
    x = F.layer_norm(features(), (20,))
    keys = pooling.key(x) + pooling.positions
    heads = []
    for part, values in zip(torch.arange(8).split(4), x.split(10, dim=-1), strict=True):
        scores = pooling.queries[:, part] @ keys[:, :, part].mT / 4**0.5
        heads.append(scores.softmax(-1) @ values)
    expected = F.layer_norm(torch.cat(heads, -1), (20,))
    assert pooling(features()).shape == (2, 3, 20)
    # float32, sums in a different order, before a layer norm
    torch.testing.assert_close(pooling(features()), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match=r"width is 20.*num_heads, 3"):
        build(width=None, key_dim=12, num_heads=3)


def test_a_fresh_pooling_is_near_the_mean_over_the_patches() -> None:
    pooling = build()
    x = pooling.input_projection(pooling.input_norm(features()))
    mean = pooling.output_norm(pooling.output(pooling.value(x).mean(1, keepdim=True)))
    # queries of at most 0.02 tilt the weights by about a hundredth
    assert (pooling(features()) - mean).abs().max() < 0.1


def test_without_positions_the_order_of_patches_does_not_matter() -> None:
    shuffled = features()[:, [3, 1, 5, 0, 2, 4]]
    for positions in (False, True):
        pooling = build(positions=positions)
        torch.nn.init.normal_(pooling.queries)
        difference = (pooling(features()) - pooling(shuffled)).abs().max()
        assert difference > 1e-2 if positions else difference < 1e-5


def test_every_patch_reaches_every_token_and_queries_learn_apart() -> None:
    pooling, x = build(), features().requires_grad_()
    weights = torch.randn(16, generator=torch.Generator().manual_seed(5))
    for token in range(3):
        (grad,) = torch.autograd.grad((pooling(x)[0, token] * weights).sum(), x)
        assert (grad[0].abs().sum(-1) > 0).all()
        assert not grad[1].any()
    (grad,) = torch.autograd.grad((pooling(x) * weights).sum(), pooling.queries)
    assert (grad[0] - grad[1]).abs().max() > 0


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = build(7), build(7), build(8)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.queries, other.queries)
    assert "positions" not in first.state_dict()  # computed, so no checkpoint need hold it


def test_dropout_acts_in_training_only() -> None:
    pooling = build(dropout=0.5)
    torch.manual_seed(0)
    assert not torch.equal(pooling(features()), pooling(features()))
    pooling.eval()
    assert torch.equal(pooling(features()), pooling(features()))


@pytest.mark.parametrize("shape", [(2, 5, 20), (2, 6, 21)])
def test_features_of_a_different_encoder_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 6, 20\) for a grid of 2 x 3"):
        build()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 5}, "multiple of num_heads, 5"),
        ({"num_queries": 0}, "num_queries is 0"),
        ({"key_dim": 10, "num_heads": 4}, "multiple of num_heads, 4"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"width": 18, "num_heads": 2}, "multiple of 4 for positions"),
    ],
)
def test_bad_fields_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_attention_weights_are_the_shares_of_the_patches_in_a_weighted_mean() -> None:
    pooling = build(width=None, key_dim=8, num_heads=1)
    torch.nn.init.normal_(pooling.queries, std=3)  # large, so that the attention is far from even
    weights = pooling.attention_weights(features())
    assert weights.shape == (2, 3, 6)
    # float32: the sum of six shares
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3), atol=1e-6, rtol=0)
    assert weights.max() > 0.5
    mean = weights @ F.layer_norm(features(), (20,))
    # float32, the same sums before a layer norm
    torch.testing.assert_close(pooling(features()), F.layer_norm(mean, (20,)), atol=1e-5, rtol=1e-4)


def test_attention_weights_are_the_mean_over_the_heads() -> None:
    pooling = build(positions=False)
    torch.nn.init.normal_(pooling.queries, std=3)
    keys = pooling.key(pooling.input_projection(F.layer_norm(features(), (20,))))
    heads = [
        (pooling.queries[:, part] @ keys[:, :, part].mT / 4**0.5).softmax(-1)
        for part in torch.arange(16).split(4)
    ]
    # float32, sums in a different order
    torch.testing.assert_close(
        pooling.attention_weights(features()), torch.stack(heads).mean(0), atol=1e-6, rtol=1e-5
    )
