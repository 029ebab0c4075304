"""Towers of timm, tiny and random: MobileCLIP's FastViT, and a transformer."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from edge_glass.encoders.towers.timm_vision import TimmVisionConfig

FASTVIT = {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64)}
VIT = {"img_size": 32, "embed_dim": 16, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def timm() -> Any:
    if find_spec("timm") is None or find_spec("torchvision") is None:
        pytest.skip("needs the packages timm and torchvision: edge-glass-encoders[timm]")
    try:
        import timm
    except RuntimeError as error:
        pytest.skip(f"torchvision does not belong to this torch: {error}")
    return timm


def saved(
    timm: Any, folder: Path, name: str, arguments: dict[str, Any], num_classes: int = 5
) -> Path:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=num_classes, **arguments)
    timm.models.save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def mobileclip(timm: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(timm, tmp_path_factory.mktemp("mobileclip"), "fastvit_mci0", FASTVIT)


def noise(size: int) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_tokens_are_the_cells_of_the_map(timm: Any, mobileclip: Path) -> None:
    config = TimmVisionConfig(model=str(mobileclip))
    encoder = config.build(image_size=128)
    assert config.token_shape(128) == (encoder.grid, encoder.width) == ((4, 4), 128)
    whole = timm.create_model("fastvit_mci0", num_classes=5, **FASTVIT).eval()
    whole.load_state_dict(load_file(mobileclip / "model.safetensors"), strict=True)
    with torch.no_grad():
        cells = whole.forward_features(noise(128))
    # the same operations on the same numbers
    torch.testing.assert_close(encoder(noise(128)), cells.flatten(2).mT, atol=1e-6, rtol=1e-6)
    # MobileCLIP reads plain pixels from 0 to 1
    assert (encoder.transform.mean, encoder.transform.std) == ((0, 0, 0), (1, 1, 1))


def test_its_own_size_and_frozen(mobileclip: Path) -> None:
    encoder = TimmVisionConfig(model=str(mobileclip)).build()
    assert (encoder.image_size, encoder.grid) == (256, (8, 8))
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(each.requires_grad for each in encoder.parameters())


def test_a_transformer_without_its_class_token(timm: Any, tmp_path: Path) -> None:
    folder = saved(timm, tmp_path, "vit_tiny_patch16_224", VIT)
    encoder = TimmVisionConfig(model=str(folder)).build()
    assert (encoder.image_size, encoder.grid, encoder.width) == (32, (2, 2), 16)
    whole = timm.create_model("vit_tiny_patch16_224", num_classes=5, **VIT).eval()
    whole.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    with torch.no_grad():
        expected = whole.forward_features(noise(32))[:, 1:]
    torch.testing.assert_close(encoder(noise(32)), expected, atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match=r"with images of 48 pixels can't be loaded .*48"):
        TimmVisionConfig(model=str(folder)).build(image_size=48)


def test_the_classes_of_imagenet_are_offered(timm: Any, tmp_path: Path, mobileclip: Path) -> None:
    folder = saved(timm, tmp_path / "convolutional", "fastvit_mci0", FASTVIT, num_classes=1000)
    encoder = TimmVisionConfig(model=str(folder)).build(image_size=64)
    rows = encoder.classifier_rows()
    assert rows is not None
    weight = load_file(folder / "model.safetensors")["head.fc.weight"]
    # a row with mean 0 and standard deviation 1
    torch.testing.assert_close(rows.tokens, torch.nn.functional.layer_norm(weight, (128,)))
    assert TimmVisionConfig(model=str(mobileclip)).build().classifier_rows() is None
    # a transformer's classifier reads its class token, and that is not a patch
    folder = saved(timm, tmp_path / "transformer", "vit_tiny_patch16_224", VIT, num_classes=1000)
    assert TimmVisionConfig(model=str(folder)).build().classifier_rows() is None


def test_a_copy_gives_the_same_tokens(mobileclip: Path, tmp_path: Path) -> None:
    config = TimmVisionConfig(model=str(mobileclip), image_size=64)
    config.copy_weights(tmp_path)
    copied = config.with_weights(tmp_path).build()
    assert torch.equal(copied(noise(64)), config.build()(noise(64)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "no_such_model"}, "architecture 'no_such_model', which timm .* not know"),
        ({"architecture": "resnet18", "model_args": {}}, "tensors of its config.json are not in"),
        ({"model_args": {**FASTVIT, "layers": (1, 1, 1, 2)}}, "are not in its weights, such as"),
        ({"model_args": {"no_such": 1}}, "can't be loaded"),
        (
            {"pretrained_cfg": {"classifier": "head.fc", "mean": [1]}},
            "mean is .*, expected three numbers",
        ),
        (
            {"pretrained_cfg": {"classifier": "head.fc", "interpolation": "none"}},
            "interpolation 'none', expected one of",
        ),
        ({"pretrained_cfg": []}, "holds no table"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_line(
    mobileclip: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(mobileclip, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message) as caught:
        TimmVisionConfig(model=str(folder), image_size=64).build()
    assert "\n" not in str(caught.value)


def test_tensors_without_a_place_and_pickle_are_refused(mobileclip: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(mobileclip, tmp_path / "copy")
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "stages.9.weight": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"no place for, such as stages\.9\.weight; copy"):
        TimmVisionConfig(model=str(folder)).build()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin, a pickle file"):
        TimmVisionConfig(model=str(folder)).build()


def test_a_pickle_that_config_json_names_is_not_read(mobileclip: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(mobileclip, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config["model_args"] = {**FASTVIT, "checkpoint_path": str(tmp_path / "nowhere.pth")}
    (folder / "config.json").write_text(json.dumps(config))
    pixels = noise(64)
    changed, kept = (
        TimmVisionConfig(model=str(each), image_size=64).build()(pixels)
        for each in (folder, mobileclip)
    )
    assert torch.equal(changed, kept)


def test_a_hub_id_needs_licence_and_commit() -> None:
    with pytest.raises(ValueError, match="license of owner/name is missing; copy it from"):
        TimmVisionConfig(model="owner/name").check_chosen()
    with pytest.raises(ValueError, match="revision of owner/name is None, expected a commit"):
        TimmVisionConfig(model="owner/name", license="MIT").build()
    with pytest.raises(ValueError, match=r"timm_vision\.model=FOLDER"):
        TimmVisionConfig(model=None).check_chosen()


def test_without_timm_the_extra_is_named(tmp_path: Path) -> None:
    if find_spec("timm") is not None:
        pytest.skip("timm is installed")
    (tmp_path / "config.json").write_text('{"architecture": "fastvit_mci0"}')
    with pytest.raises(ValueError, match=r"pip install 'edge-glass-encoders\[timm\]'"):
        TimmVisionConfig(model=str(tmp_path)).token_shape(64)
