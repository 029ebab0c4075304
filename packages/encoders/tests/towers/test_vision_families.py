"""Each family of vision towers against transformers, on small random folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor

from edge_glass.encoders.towers.image_processor import read_image_processor
from edge_glass.encoders.towers.transformers_vision import TransformersVisionConfig
from edge_glass.encoders.towers.vision_families import FAMILIES, HALF

SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "patch_size": 7,
}
# family -> class of the config and its own options; the classes are those of transformers
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("CLIPVisionConfig", {"image_size": 28}),
    "siglip": ("SiglipVisionConfig", {"image_size": 28}),
    "siglip2": ("Siglip2VisionConfig", {"num_patches": 16}),
    "dinov2": ("Dinov2Config", {"image_size": 28, "mlp_ratio": 2}),
    "dinov2_with_registers": (
        "Dinov2WithRegistersConfig",
        {"image_size": 28, "mlp_ratio": 2, "num_register_tokens": 3},
    ),
    "dinov3_vit": ("DINOv3ViTConfig", {"image_size": 28, "num_register_tokens": 2}),
}
EXTRA_TOKENS = {"clip": 1, "dinov2": 1, "dinov2_with_registers": 4, "dinov3_vit": 3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for family, (name, options) in CONFIGS.items():
        torch.manual_seed(0)
        shape = {**SHAPE, **options}
        if "mlp_ratio" in options:
            del shape["intermediate_size"]
        model = getattr(transformers, FAMILIES[family].model_class)(
            getattr(transformers, name)(**shape)
        )
        for weight in model.parameters():  # also positions and registers, which start as zero
            torch.nn.init.normal_(weight, std=0.2)
        found[family] = tmp_path_factory.mktemp(family)
        model.save_pretrained(found[family])
    return found


def reference(family: str, folder: Path, pixels: Tensor, patches: Tensor) -> Any:
    """The model's own output, with all hidden layers."""
    model = getattr(transformers, FAMILIES[family].model_class).from_pretrained(folder).eval()
    inputs: dict[str, Any] = {"pixel_values": pixels}
    if family in ("clip", "siglip"):
        inputs["interpolate_pos_encoding"] = True
    if family == "siglip2":
        side = pixels.shape[-1] // 7
        inputs = {
            "pixel_values": patches,
            "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.int32),
            "spatial_shapes": torch.tensor([[side, side]] * len(pixels)),
        }
    with torch.no_grad():
        return model(**inputs, output_hidden_states=True)


def noise(size: int = 28) -> tuple[Tensor, Tensor]:
    """Images, and their patches as SigLIP 2 takes them: written out as loops."""
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    rows = range(0, size, 7)
    patches = [
        pixels[:, :, y : y + 7, x : x + 7].permute(0, 2, 3, 1).flatten(1)
        for y in rows
        for x in rows
    ]
    return pixels, torch.stack(patches, dim=1)


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("size", [28, 42])
def test_the_last_layer_is_the_models_own_output(
    family: str, size: int, folders: dict[str, Path]
) -> None:
    config = TransformersVisionConfig(model=str(folders[family]))
    encoder = config.build(image_size=size)
    pixels, patches = noise(size)
    tokens = encoder(pixels)
    own = reference(family, folders[family], pixels, patches).last_hidden_state
    side = size // 7
    assert own.shape[1] == EXTRA_TOKENS.get(family, 0) + side * side
    assert (encoder.grid, encoder.width) == ((side, side), 16)
    assert config.token_shape(size) == ((side, side), 16)
    # the same operations on the same numbers
    expected = own[:, EXTRA_TOKENS.get(family, 0) :]
    torch.testing.assert_close(tokens, expected, atol=1e-6, rtol=1e-6)
    # a token is that of its own place: a changed corner changes the first token most
    changed = pixels.clone()
    changed[:, :, :7, :7] += 3
    moved = (encoder(changed) - tokens).abs().amax(dim=(0, 2))
    assert int(moved.argmax()) == 0


@pytest.mark.parametrize("family", CONFIGS)
def test_an_earlier_layer_is_the_hidden_state(family: str, folders: dict[str, Path]) -> None:
    encoder = TransformersVisionConfig(model=str(folders[family]), layer=-2).build(image_size=28)
    pixels, patches = noise()
    hidden = reference(family, folders[family], pixels, patches).hidden_states
    assert len(hidden) == 4
    expected = hidden[2][:, EXTRA_TOKENS.get(family, 0) :]
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-6, rtol=1e-6)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_the_whole_siglip_gives_its_vision_tower(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 9}
    text |= {"num_attention_heads": 1, "max_position_embeddings": 5}
    config = transformers.SiglipConfig(text_config=text, vision_config={**SHAPE, "image_size": 28})
    whole = transformers.SiglipModel(config).eval()
    whole.save_pretrained(tmp_path)
    pixels, _ = noise()
    with torch.no_grad():
        expected = whole.vision_model(pixels).last_hidden_state
    encoder = TransformersVisionConfig(model=str(tmp_path)).build()
    assert encoder.image_size == 28  # the model's own
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-6, rtol=1e-6)


def test_an_unknown_family_lists_the_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    config = TransformersVisionConfig(model=str(tmp_path))
    for call in (config.build, lambda: config.token_shape(224)):
        with pytest.raises(ValueError, match=r"type resnet, expected one of clip, siglip.*dinov3"):
            call()


@pytest.mark.parametrize(
    ("size", "layer", "message"),
    [
        (30, -1, "image_size is 30, expected a multiple of 7, such as 28"),
        (28, 5, "layer is 5, expected -4 to 3"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(
    size: int, layer: int, message: str, folders: dict[str, Path]
) -> None:
    config = TransformersVisionConfig(model=str(folders["dinov2"]), layer=layer)
    with pytest.raises(ValueError, match=message):
        config.token_shape(size)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"can't be loaded \(Expecting .*\); copy the model again"),
        ("[]", r"config\.json of .* holds no table"),
        ({"patch_size": 0}, "patch_size 0, expected a whole number of at least 1"),
        ({"patch_size": []}, r"patch_size \[\], expected"),
        ({"num_hidden_layers": None}, "num_hidden_layers None, expected"),
        ({"hidden_size": "wide"}, "hidden_size 'wide', expected"),
    ],
)
def test_a_broken_config_is_refused_before_any_work(
    content: str | dict[str, Any], message: str, tmp_path: Path
) -> None:
    if isinstance(content, dict):
        content = json.dumps({"model_type": "dinov2", **content})
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        TransformersVisionConfig(model=str(tmp_path)).token_shape(28)


def test_a_model_without_a_size_of_its_own_needs_one(folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"image_size is null, but .*; set a multiple of 7"):
        TransformersVisionConfig(model=str(folders["siglip2"])).build()


def test_no_model_is_one_line_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="model is null: name a folder, package:NAME, or a hub id"):
        TransformersVisionConfig(model=None).check_chosen()


def processor(folder: Path, **values: Any) -> Path:
    (folder / "config.json").write_text("{}")
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    return folder


def test_pixels_are_prepared_as_the_folder_names_it(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for file in folders["dinov2"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    values = {"do_center_crop": True, "crop_size": {"height": 35, "width": 35}, "resample": 2}
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 1.0]
    text = json.dumps({**values, "image_mean": mean, "image_std": std})
    (tmp_path / "preprocessor_config.json").write_text(text)
    encoder = TransformersVisionConfig(model=str(tmp_path), fit="crop").build()
    assert encoder.image_size == 35
    image = Image.linear_gradient("L").convert("RGB")
    resized = image.resize((35, 35), Image.Resampling.BILINEAR)
    scaled = torch.tensor(np.asarray(resized)).permute(2, 0, 1) / 255
    expected = (scaled - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(encoder.preprocess([image])[0], expected, atol=1e-5, rtol=0)


def test_without_a_processor_the_values_are_the_familys(folders: dict[str, Path]) -> None:
    found = read_image_processor(str(folders["siglip"]), None, FAMILIES["siglip"])
    assert (found.mean, found.std, found.resample, found.size) == (HALF, HALF, "bicubic", None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rescale_factor": 1 / 127.5}, "rescale_factor"),
        ({"rescale_factor": None}, "rescale_factor None, expected 1/255"),
        ({"do_normalize": False}, "does not rescale or normalise"),
        ({"resample": 0}, "resample 0, expected one of"),
        ({"resample": [3]}, r"resample \[3\], expected one of"),
        ({"image_mean": [0.5]}, "expected three numbers"),
        ({"image_std": "half"}, "expected three numbers"),
    ],
)
def test_a_processor_that_cannot_be_followed_is_refused(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = processor(tmp_path, **values)
    with pytest.raises(ValueError, match=message):
        read_image_processor(str(folder), None, FAMILIES["siglip"])


def test_a_broken_processor_is_named(tmp_path: Path) -> None:
    (processor(tmp_path) / "preprocessor_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"preprocessor_config.json is not JSON"):
        read_image_processor(str(tmp_path), None, FAMILIES["siglip"])
