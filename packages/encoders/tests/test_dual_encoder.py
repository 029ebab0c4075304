"""The dual encoder: its parts in order, equal bits in any batch, and its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from edge_glass.encoders.attention_pooling import AttentionPoolingConfig
from edge_glass.encoders.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from edge_glass.encoders.components import Component
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig
from edge_glass.encoders.perceiver import PerceiverConfig
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Encoder
from edge_glass.encoders.towers.sentence import SentenceEncoder

TEXTS = ["a red square", "a blue circle", "a dog"]


@pytest.fixture
def images() -> list[Image.Image]:
    noise = torch.randint(0, 256, (3, 9, 30, 3), generator=torch.Generator().manual_seed(0))
    return [Image.fromarray(array) for array in noise.to(torch.uint8).numpy()]


@pytest.fixture
def dual(
    dual_config: DualEncoderConfig,
    efficientnet: EfficientNetLite0Encoder,
    sentence: SentenceEncoder,
) -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder(dual_config, vision=efficientnet, text=sentence).eval()


def features(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 4, 1728, generator=torch.Generator().manual_seed(1))


def test_images_go_through_pooling_mean_and_head(dual: DualEncoder) -> None:
    tokens = dual.pooling(features())
    assert tokens.shape == (3, 2, 32)
    assert torch.equal(dual.pool(features()), tokens)
    expected = F.linear(tokens.mean(1), dual.image_head.linear.weight, dual.image_head.linear.bias)
    assert torch.equal(dual.image_embeddings(features()), expected)
    assert expected.shape == (3, 24)


def test_the_attention_of_an_image_is_that_of_the_pooling(
    dual: DualEncoder, images: list[Image.Image]
) -> None:
    torch.nn.init.normal_(dual.pooling.queries, std=3)  # far from even
    weights = dual.image_attention(images[0])
    assert weights is not None
    assert weights.shape == (2, 4)
    tokens = dual.vision(dual.vision.preprocess(images[:1]))
    assert torch.equal(weights, dual.pooling.attention_weights(tokens)[0])
    assert (weights.sum(-1) - 1).abs().max() < 1e-6  # float32, four shares
    with pytest.raises(RuntimeError, match="no vision encoder, which image_attention needs"):
        DualEncoder(dual.config).image_attention(images[0])


def test_tokens_can_be_flattened_instead(dual_config: DualEncoderConfig) -> None:
    dual = DualEncoder(replace(dual_config, token_reduction="flatten")).eval()
    flat = dual.pooling(features()).reshape(3, 64)
    expected = F.linear(flat, dual.image_head.linear.weight, dual.image_head.linear.bias)
    torch.testing.assert_close(dual.image_embeddings(features()), expected)


def test_encode_image_and_text_are_the_parts_in_order(
    dual: DualEncoder, images: list[Image.Image]
) -> None:
    assert dual.vision is not None
    assert dual.text is not None
    with torch.no_grad():
        pixels = dual.vision.preprocess(images)
        shown = F.normalize(dual.image_embeddings(dual.vision(pixels)), dim=1)
        texts = F.normalize(dual.text_embeddings(dual.text.encode(TEXTS)), dim=1)
    # batches of a different size may sum in a different order
    for found, expected in (
        (dual.encode_image(images), shown),
        (dual.encode_image(images, batch_size=2), shown),
        (dual.encode_text(TEXTS), texts),
        (dual.encode_text(TEXTS, batch_size=3), texts),
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert dual.encode_image([]).shape == dual.encode_text([]).shape == (0, 24)
    assert dual.encode_image([], truncate_dim=8).shape == (0, 8)


@pytest.mark.parametrize("pooling", ["attention", "perceiver"])
@pytest.mark.parametrize("batch_size", [None, 2, 7, 16])
def test_a_image_has_the_same_bits_alone_and_in_any_company(
    dual_config: DualEncoderConfig,
    efficientnet: EfficientNetLite0Encoder,
    batch_size: int | None,
    pooling: str,
) -> None:
    """Batches of one size: a plain batch of 16 differs from 16 batches of one."""
    if pooling == "perceiver":
        options = PerceiverConfig(num_latents=2, width=32, num_heads=4)
        dual_config = replace(dual_config, pooling=Component(name=pooling, config=options))
    torch.manual_seed(0)
    dual = DualEncoder(dual_config, vision=efficientnet).eval()
    noise = torch.randint(0, 256, (19, 40, 50, 3), generator=torch.Generator().manual_seed(2))
    images = [Image.fromarray(array) for array in noise.to(torch.uint8).numpy()]
    alone = torch.cat([dual.encode_image([image], batch_size=batch_size) for image in images])
    assert torch.equal(dual.encode_image(images, batch_size=batch_size), alone)
    backwards = dual.encode_image(images[::-1], batch_size=batch_size)
    assert torch.equal(backwards.flip(0), alone)
    cut = dual.encode_image(images[3:12], batch_size=batch_size, truncate_dim=8)
    assert torch.equal(cut, dual.encode_image(images, batch_size=batch_size, truncate_dim=8)[3:12])


def test_a_text_has_the_same_bits_alone_and_in_any_company(dual: DualEncoder) -> None:
    texts = [*TEXTS, "a much longer caption of a dog that runs after a ball", "x"]
    alone = torch.cat([dual.encode_text([text]) for text in texts])
    assert torch.equal(dual.encode_text(texts), alone)
    assert torch.equal(dual.encode_text(texts[::-1]).flip(0), alone)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused(dual: DualEncoder, batch_size: int) -> None:
    message = f"batch_size is {batch_size}, expected at least 1"
    with pytest.raises(ValueError, match=message):
        dual.encode_image([], batch_size=batch_size)
    with pytest.raises(ValueError, match=message):
        dual.encode_text(TEXTS, batch_size=batch_size)


def test_encoders_are_added_one_by_one(
    dual: DualEncoder, images: list[Image.Image], tmp_path: Path
) -> None:
    dual.save_pretrained(tmp_path)
    loaded = DualEncoder.from_pretrained(tmp_path, load_encoders=False)
    loaded.add_encoders(text=True)
    assert torch.equal(loaded.encode_text(TEXTS), dual.encode_text(TEXTS))
    assert loaded.vision is None
    loaded.add_encoders(vision=True)
    assert torch.equal(loaded.encode_image(images), dual.encode_image(images))
    narrow = DualEncoder(replace(dual.config, text_width=100))
    with pytest.raises(ValueError, match="has width 384, expected 100"):
        narrow.add_encoders(text=True)


@pytest.mark.parametrize("dim", [24, 8, 5, 1])
def test_truncate_dim_is_the_first_numbers_normalised(
    dual: DualEncoder, images: list[Image.Image], dim: int
) -> None:
    for whole, cut in (
        (dual.encode_image(images), dual.encode_image(images, truncate_dim=dim)),
        (dual.encode_text(TEXTS), dual.encode_text(TEXTS, truncate_dim=dim)),
    ):
        torch.testing.assert_close(cut, F.normalize(whole[:, :dim], dim=1))


@pytest.mark.parametrize("dim", [0, 25])
def test_a_dim_out_of_range_is_refused_before_any_work(dual: DualEncoder, dim: int) -> None:
    message = rf"truncate_dim is {dim}, expected 1 to 24; the model was trained at \[24, 8, 4\]"
    with pytest.raises(ValueError, match=message):
        dual.encode_text(TEXTS, truncate_dim=dim)
    with pytest.raises(ValueError, match=message):
        dual.encode_image([], truncate_dim=dim)


def test_encoding_leaves_dropout_out_and_the_mode_as_it_was(
    dual_config: DualEncoderConfig, sentence: SentenceEncoder
) -> None:
    dual = DualEncoder(replace(dual_config, text_dropout=0.5), text=sentence).train()
    assert torch.equal(dual.encode_text(TEXTS), dual.encode_text(TEXTS))
    assert dual.training
    assert dual.text_head.dropout.training
    assert not sentence.training


@pytest.mark.parametrize("projection", ["linear", "mlp"])
@pytest.mark.parametrize("pooling", ["attention", "perceiver"])
def test_from_pretrained_gives_the_model_that_was_saved(
    dual_config: DualEncoderConfig,
    images: list[Image.Image],
    tmp_path: Path,
    projection: str,
    pooling: str,
) -> None:
    options = {
        "attention": AttentionPoolingConfig(num_queries=2, width=32, num_heads=4),
        "perceiver": PerceiverConfig(num_latents=2, width=32, num_heads=4),
    }
    config = replace(
        dual_config,
        projection=projection,
        pooling=Component(name=pooling, config=options[pooling]),
        hidden_width=20,
    )
    torch.manual_seed(3)
    dual = DualEncoder(config).eval()
    dual.save_pretrained(tmp_path / "first")
    state = torch.get_rng_state()
    loaded = DualEncoder.from_pretrained(tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.training
    assert loaded.config == config
    assert torch.equal(loaded.image_embeddings(features()), dual.image_embeddings(features()))
    assert loaded.encode_image(images).shape == (3, 24)
    assert loaded.encode_text(TEXTS).shape == (3, 24)
    loaded.save_pretrained(tmp_path / "second")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_fresh_weights_are_drawn_from_the_callers_seed(dual_config: DualEncoderConfig) -> None:
    torch.manual_seed(5)
    first = DualEncoder(dual_config)
    torch.manual_seed(5)
    second = DualEncoder(dual_config)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_a_checkpoint_holds_no_frozen_weights(dual: DualEncoder, tmp_path: Path) -> None:
    dual.save_pretrained(tmp_path)
    names = set(load_checkpoint(tmp_path)[1])
    assert names == set(DualEncoder(dual.config).state_dict())
    assert {name.split(".")[0] for name in names} == {
        "pooling",
        "image_head",
        "text_head",
        "logit_scale",
    }


def test_without_encoders_it_takes_features_and_says_so(dual: DualEncoder, tmp_path: Path) -> None:
    dual.save_pretrained(tmp_path)
    loaded = DualEncoder.from_pretrained(tmp_path, load_encoders=False)
    assert torch.equal(loaded.image_embeddings(features()), dual.image_embeddings(features()))
    with pytest.raises(RuntimeError, match=r"no text encoder.*add_encoders\(text=True\)"):
        loaded.encode_text(TEXTS)
    with pytest.raises(RuntimeError, match="no vision encoder"):
        loaded.encode_image([])


def test_missing_and_extra_keys_are_refused(dual: DualEncoder, tmp_path: Path) -> None:
    dual.save_pretrained(tmp_path)
    config, tensors = load_checkpoint(tmp_path)
    del tensors["logit_scale"]
    tensors["image_head.old"] = torch.zeros(2)
    save_checkpoint(tmp_path, config, tensors)
    with pytest.raises(CheckpointError) as caught:
        DualEncoder.from_pretrained(tmp_path, load_encoders=False)
    assert str(tmp_path) in str(caught.value)
    assert "missing: logit_scale" in str(caught.value)
    assert "extra: image_head.old" in str(caught.value)


def test_encoders_of_a_different_width_are_refused(
    dual: DualEncoder, tmp_path: Path, sentence: SentenceEncoder
) -> None:
    with pytest.raises(ValueError, match="all_minilm_l6_v2 has width 384, expected 768"):
        DualEncoder(replace(dual.config, text_width=768), text=sentence)
    with pytest.raises(ValueError, match=r"grid \(2, 2\), expected 1728 and \(4, 4\)"):
        DualEncoder(replace(dual.config, grid=(4, 4)), vision=dual.vision)
    with pytest.raises(ValueError, match="text features have width 768, expected 384"):
        dual.text_embeddings(torch.zeros(2, 768))


def test_a_checkpoint_that_does_not_fit_its_text_encoder_is_refused(
    dual: DualEncoder, tmp_path: Path
) -> None:
    DualEncoder(replace(dual.config, text_width=768)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="all_minilm_l6_v2 has width 384, expected 768"):
        DualEncoder.from_pretrained(tmp_path)
    config, tensors = load_checkpoint(tmp_path)
    save_checkpoint(tmp_path, {**config, "text_width": 384}, tensors)
    message = r"shape of text_head\.linear\.weight: found \(24, 768\), expected \(24, 384\)"
    with pytest.raises(CheckpointError, match=message):
        DualEncoder.from_pretrained(tmp_path, load_encoders=False)
