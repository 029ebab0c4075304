"""An image tower of timm as a patch encoder, frozen: MobileCLIP, and others.

What is unusual: the model's own last features are the tokens, either the cells of a convolutional
map (MobileCLIP's FastViT) or the patches of a transformer. timm itself downloads nothing: the two
files that it writes, `config.json` and `model.safetensors`, are read from a folder or a commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from edge_glass.encoders.base import TokenShape, VisionEncoder
from edge_glass.encoders.limits import MAX_IMAGE_SIZE, check_between, check_path
from edge_glass.encoders.towers.classifier import ClassifierRows, imagenet_rows
from edge_glass.encoders.towers.image_processor import three_numbers
from edge_glass.encoders.towers.pixels import PadColor
from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.encoders.towers.pretrained import (
    HUB_ID,
    copy_model,
    local_config,
    locate_model,
    named_model,
    no_progress_bar,
    one_line,
    table,
)
from edge_glass.encoders.towers.square import Fit
from edge_glass.encoders.towers.vision_families import IMAGENET_MEAN, IMAGENET_STD
from edge_glass.encoders.towers.weight_files import check_tensors_placed, refuse_pickles

OPTION = "vision_encoders.timm_vision"
WEIGHTS = "model.safetensors"
# Arguments of `timm.create_model` that would download weights, or read a pickle file.
NOT_LOADED = {
    "pretrained": False,
    "pretrained_cfg": None,
    "pretrained_cfg_overlay": None,
    "checkpoint_path": None,
    "num_classes": 0,
}
FILTERS = ("bicubic", "bilinear", "lanczos")


class TimmVisionEncoder(VisionEncoder):
    """Tokens from the last features of a timm model."""

    def __init__(
        self,
        config: TimmVisionConfig,
        model: nn.Module,
        values: Mapping[str, Any],
        image_size: int,
        shape: TokenShape,
        classifier: Tensor | None = None,
    ) -> None:
        """Freezes the model.

        Args:
            config: how images are fitted.
            model: without its classifier.
            values: timm's `pretrained_cfg`: mean, std and filter of its images.
            image_size: side of the input in pixels.
            shape: of the tokens for images of this size.
            classifier: (1000, width) of ImageNet-1k, if the mean of the tokens is classified.
        """
        super().__init__()
        where = f"the config.json of {config.model}"
        resample = values.get("interpolation", "bicubic")
        if resample not in FILTERS:
            raise ValueError(
                f"{config.model} has interpolation {resample!r}, expected one of {FILTERS}: choose "
                "a different model"
            )
        self.config = config
        self.model = model
        self.image_size = image_size
        self.grid, self.width = shape
        self.classifier = classifier
        self.transform = ImageTransform(
            image_size=image_size,
            fit=config.fit,
            mean=three_numbers(values.get("mean", IMAGENET_MEAN), f"{where}: mean"),
            std=three_numbers(values.get("std", IMAGENET_STD), f"{where}: std", above=0.0),
            pad_color=config.pad_color,
            resample=resample,
        )
        self.freeze()

    def classifier_rows(self) -> ClassifierRows | None:
        return None if self.classifier is None else imagenet_rows(self.classifier)

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
        self.check_pixels(pixels)
        return _tokens(self.model, pixels)


@dataclass(frozen=True, kw_only=True)
class TimmVisionConfig:
    """An image tower of timm and the size of the images.

    Attributes:
        model: a hub id, or a folder with config.json and model.safetensors as timm writes them.
        revision: the commit of a hub id.
        license: of a hub id's weights, as its model card names it.
        image_size: side of the input in pixels. None is the model's own, and the only one for a
            transformer with fixed positions.
        fit: `pad` or `crop`, see `ImageTransform`.
        pad_color: `mean` or `white`; MobileCLIP's mean is black.
    """

    model: str | None
    revision: str | None = None
    license: str | None = None
    image_size: int | None = None
    fit: Fit = "pad"
    pad_color: PadColor = "white"

    def __post_init__(self) -> None:
        check_path(self, "model")
        check_between(self, 1, MAX_IMAGE_SIZE, "image_size")

    def check_chosen(self) -> None:
        """Refuses an entry of params.yaml that waits for a model, or a hub id without a licence."""
        model = named_model(self.model, OPTION)
        is_hub_id = HUB_ID.fullmatch(model) and not Path(model).is_dir()
        if is_hub_id and not (self.license or "").strip():
            raise ValueError(f"license of {model} is missing; copy it from the model card")

    def token_shape(self, image_size: int) -> TokenShape | None:
        """Returns the grid of tokens and their width for images of this size in pixels.

        Nothing is downloaded: None for a model of the hub that is not in the local cache.

        Raises:
            ValueError: if timm or the model is not known, or the size does not fit it.
        """
        model = named_model(self.model, OPTION)
        config = local_config(model, self.revision)
        if config is None:
            return None
        return _shape(config, image_size, model)

    def build(self, image_size: int | None = None) -> TimmVisionEncoder:
        """Loads the model, for `image_size` in place of the config's own if it is given.

        Raises:
            FileNotFoundError: if the folder does not exist.
            OSError: if the hub can't be reached and the model is not in its cache.
            ValueError: if a hub id has no commit or licence, timm is missing or does not know the
                model, weights are missing, left over or a pickle, or the size does not fit.
        """
        self.check_chosen()
        model = named_model(self.model, OPTION)
        place, is_local = locate_model(model, self.revision)
        if not is_local:
            place = self._download(place)
        refuse_pickles(Path(place), model)
        config = local_config(place, None) or {}
        network, values = _create(config, model)
        with one_line(model, is_local=is_local):
            tensors = load_file(Path(place) / WEIGHTS)
        own = network.state_dict()
        head = tuple(f"{name}." for name in _names(values.get("classifier")))
        unread = set(tensors) - set(own)
        check_tensors_placed(model, set(own) - set(tensors), unread, head)
        with one_line(model, is_local=is_local):
            network.load_state_dict({name: tensors[name] for name in own}, strict=True)
        size = image_size or self.image_size or _own_size(values, model)
        chosen = replace(self, image_size=size)
        shape = _shape(config, size, model)
        classifier = _imagenet_classifier(tensors, network, values, shape.width)
        return TimmVisionEncoder(chosen, network, values, size, shape, classifier)

    def copy_weights(self, folder: Path) -> None:
        """Copies the model's files, if they lie on this machine; see `copy_model`."""
        copy_model(named_model(self.model, OPTION), self.revision, folder)

    def with_weights(self, folder: Path) -> TimmVisionConfig:
        """Returns the config with the model in a folder that `copy_weights` wrote."""
        return replace(self, model=str(folder.resolve()), revision=None)

    def _download(self, name: str) -> str:
        from huggingface_hub import snapshot_download

        files = ["config.json", WEIGHTS]
        with no_progress_bar(), one_line(name, is_local=False):
            return snapshot_download(name, revision=self.revision, allow_patterns=files)


def _create(config: Mapping[str, Any], model: str) -> tuple[nn.Module, dict[str, Any]]:
    """Returns the network that a config.json describes, with fresh weights, and its values."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{model} needs the package {error.name}, which is not installed: "
            "pip install 'edge-glass-encoders[timm]'"
        ) from None
    except Exception as error:  # torchvision raises what its compiled part does
        raise ValueError(
            f"timm can't be imported ({' '.join(str(error).split())}): install the torchvision "
            f"that belongs to torch {torch.__version__}, from the same index"
        ) from error
    name = config.get("architecture")
    if not isinstance(name, str) or not timm.is_model(name):
        raise ValueError(
            f"the config.json of {model} has architecture {name!r}, which timm "
            f"{timm.__version__} does not know: give a folder that timm wrote, or update timm"
        )
    values = table(config.get("pretrained_cfg", {}), model)
    with one_line(model), torch.random.fork_rng(devices=[]):
        options = dict(config.get("model_args") or {}) | NOT_LOADED
        network: nn.Module = timm.create_model(name, **options)
    return network.eval(), dict(values)


def _tokens(model: Any, pixels: Tensor) -> Tensor:
    """Returns the last features as tokens, row by row, without class and register tokens."""
    features: Tensor = model.forward_features(pixels)
    if features.ndim == 4:
        return rearrange(features, "b d h w -> b (h w) d")
    return features[:, getattr(model, "num_prefix_tokens", 0) :]


@torch.no_grad()
def _shape(config: Mapping[str, Any], size: int, name: str) -> TokenShape:
    """Returns grid and width for images of a size, by running the model without numbers."""
    with torch.device("meta"):
        network, _ = _create(config, name)
        with one_line(f"{name} with images of {size} pixels"):
            tokens = _tokens(network, torch.empty(1, 3, size, size))
    width = int(getattr(network, "num_features", 0))
    side = round(tokens.shape[1] ** 0.5)
    if tokens.ndim != 3 or side * side != tokens.shape[1] or tokens.shape[2] != width or side == 0:
        raise ValueError(
            f"{name} gives features of shape {tuple(tokens.shape[1:])} for an image of {size} "
            f"pixels, expected a square grid of vectors of {width}: choose a different model"
        )
    if size % side:
        raise ValueError(
            f"image_size is {size}, expected a multiple of {round(size / side)}, the pixels of a "
            f"token of {name}"
        )
    return TokenShape(grid=(side, side), width=width)


def _own_size(values: Mapping[str, Any], model: str) -> int:
    size = values.get("input_size")
    if not isinstance(size, list | tuple) or len(size) != 3 or size[1] != size[2]:
        raise ValueError(
            f"the config.json of {model} has input_size {size!r}, expected three numbers with "
            "equal sides: set image_size"
        )
    return int(size[1])


def _imagenet_classifier(
    tensors: Mapping[str, Tensor], network: Any, values: Mapping[str, Any], width: int
) -> Tensor | None:
    """Returns the classifier's weight (1000, width) if it reads the mean of the tokens, or None.

    That of a transformer reads a class token. A model of other classes names them in its config.
    """
    names = _names(values.get("classifier"))
    weight = tensors.get(f"{names[0]}.weight") if len(names) == 1 else None
    reads_mean = not getattr(network, "num_prefix_tokens", 0)
    if weight is None or not reads_mean or values.get("label_names"):
        return None
    return weight.float() if tuple(weight.shape) == (1000, width) else None


def _names(classifier: Any) -> list[str]:
    found = [classifier] if isinstance(classifier, str) else classifier or []
    return [str(each) for each in found]
