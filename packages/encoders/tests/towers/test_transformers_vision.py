"""The CLIP tower against transformers, on a small random model."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from edge_glass.encoders.towers.transformers_vision import (
    ClipVisionConfig,
    TransformersVisionEncoder,
)
from edge_glass.encoders.towers.vision_families import CLIP_MEAN, CLIP_STD

SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
}


@pytest.fixture(scope="module")
def model() -> CLIPVisionModel:
    torch.manual_seed(0)
    return CLIPVisionModel(CLIPVisionConfig(**SHAPE)).eval()


@pytest.fixture(scope="module")
def folder(model: CLIPVisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip")
    model.save_pretrained(path)
    return path


def config(folder: Path, **options: object) -> ClipVisionConfig:
    fields = {"model": str(folder), "revision": None, "image_size": 28, **options}
    return ClipVisionConfig(**fields)


def noise(size: int = 28) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", [-2, -1, 0, 1, 3])
def test_tokens_are_the_hidden_layer_without_the_class_token(
    folder: Path, model: CLIPVisionModel, layer: int
) -> None:
    encoder = config(folder, layer=layer).build()
    with torch.no_grad():
        hidden = model(noise(), output_hidden_states=True).hidden_states
    assert len(hidden) == 4
    assert (encoder.width, encoder.grid) == (16, (4, 4))
    tokens = encoder(noise())
    assert tokens.shape == (2, 16, 16)
    # the same operations on the same numbers
    torch.testing.assert_close(tokens, hidden[layer][:, 1:], atol=1e-6, rtol=1e-6)


def test_layers_that_nobody_reads_are_dropped(folder: Path, model: CLIPVisionModel) -> None:
    whole = sum(p.numel() for p in model.parameters())
    kept = sum(p.numel() for p in config(folder, layer=-2).build().parameters())
    one_layer = sum(p.numel() for n, p in model.named_parameters() if ".layers.2." in n)
    assert one_layer > 0
    assert whole - kept == one_layer


def test_a_different_image_size_interpolates_the_positions(
    folder: Path, model: CLIPVisionModel
) -> None:
    encoder = config(folder).build(image_size=42)
    assert (encoder.image_size, encoder.grid) == (42, (6, 6))
    with torch.no_grad():
        output = model(noise(42), output_hidden_states=True, interpolate_pos_encoding=True)
    torch.testing.assert_close(
        encoder(noise(42)), output.hidden_states[-2][:, 1:], atol=1e-6, rtol=1e-6
    )
    assert encoder.preprocess([Image.new("RGB", (9, 5))]).shape == (1, 3, 42, 42)


def test_images_are_normalised_as_clip_was_trained(folder: Path) -> None:
    pixels = config(folder).build().preprocess([Image.new("RGB", (28, 28), (255, 0, 51))])
    expected = [(v - m) / s for v, m, s in zip((1, 0, 0.2), CLIP_MEAN, CLIP_STD, strict=True)]
    torch.testing.assert_close(pixels[0, :, 3, 3], torch.tensor(expected), atol=1e-5, rtol=0)


def test_it_is_frozen(folder: Path) -> None:
    encoder = config(folder).build()
    torch.nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_checkpoint_of_the_whole_clip_gives_its_vision_tower(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 9}
    text |= {"num_attention_heads": 1, "max_position_embeddings": 5}
    whole = CLIPModel(CLIPConfig(text_config=text, vision_config=SHAPE)).eval()
    whole.save_pretrained(tmp_path)
    with torch.no_grad():
        output = whole.vision_model(noise(), output_hidden_states=True)
    tokens = config(tmp_path, layer=-2).build()(noise())
    torch.testing.assert_close(tokens, output.hidden_states[-2][:, 1:], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 4}, "layer is 4, expected -4 to 3"),
        ({"layer": -5}, "layer is -5, expected -4 to 3"),
        ({"image_size": 30}, "image_size is 30, expected a multiple of 7"),
    ],
)
def test_bad_fields_are_refused(folder: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(folder, **options).build()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"[]"),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "clip_vision_model", "num_attention_heads": 0}'),
        ("config.json", b'{"model_type": "clip_vision_model", "hidden_size": "wide"}'),
        ("config.json", b'{"model_type": "clip_vision_model", "hidden_size": 24}'),
        ("model.safetensors", b"short"),
        ("preprocessor_config.json", b'{"image_std": [0, 0, 0]}'),
        ("preprocessor_config.json", b'{"image_mean": [null, "a", 1]}'),
    ],
)
def test_a_broken_folder_is_named_on_one_line(
    folder: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, OSError), match=re.escape(str(tmp_path))) as caught:
        config(tmp_path).build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gone", [True, False])
def test_tensors_without_their_place_are_refused(folder: Path, tmp_path: Path, gone: bool) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    first = next(name for name in sorted(tensors) if name.endswith("mlp.fc1.weight"))
    tensors["position_ids"] = torch.zeros(1)  # a buffer that older versions wrote
    if gone:
        del tensors[first]
    else:
        tensors["stray.weight"] = torch.zeros(1)
    save_file(tensors, tmp_path / "model.safetensors")
    expected = "1 tensors of its config.json are not in its weights, such as .*fc1.weight; copy"
    if not gone:
        expected = "hold 1 tensors that its config.json has no place for, such as stray.weight; cop"
    with pytest.raises(ValueError, match=expected):
        config(tmp_path).build()


def test_a_config_with_fewer_layers_than_the_weights_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 2}))
    with pytest.raises(ValueError, match=r"no place for, such as .*layers\.2\."):
        config(tmp_path / "copy", layer=-1).build()


def test_a_pickle_file_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").rename(tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"holds pytorch_model\.bin, a pickle file, .*convert it"):
        config(tmp_path / "copy").build()
    # beside safetensors it is never read
    shutil.copy(folder / "model.safetensors", tmp_path / "copy")
    assert config(tmp_path / "copy").build().width == 16


def test_a_image_of_a_different_size_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"expected \(3, 28, 28\)"):
        config(folder).build()(noise(35))


def test_the_full_size_model_has_its_true_size_and_shapes() -> None:
    """CLIP ViT-L/14 at 336 px, on the meta device: no weights, but every shape."""
    shape = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    with torch.device("meta"):
        model = CLIPVisionModel(shape)
    assert sum(p.numel() for p in model.parameters()) == 303_507_456
    default = ClipVisionConfig()
    assert (default.model, default.layer) == ("openai/clip-vit-large-patch14-336", -2)
    encoder = TransformersVisionEncoder(default, model)
    assert (encoder.width, encoder.grid, encoder.image_size) == (1024, (24, 24), 336)
    # without its last layer, which layer -2 does not need
    assert sum(p.numel() for p in encoder.parameters()) == 303_507_456 - 12_596_224
    assert encoder(torch.empty(2, 3, 336, 336, device="meta")).shape == (2, 576, 1024)
    with pytest.raises(ValueError, match="expected a commit"):
        replace(default, revision="main").build()
