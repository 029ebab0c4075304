"""A vision tower of transformers as a patch encoder, frozen: CLIP, SigLIP 1 and 2, DINOv2, DINOv3.

What is unusual: the tokens can come from a hidden layer before the last one, because its patches
still describe their own part of the image (LLaVA takes the last layer but one of CLIP). Later
layers are dropped when the model is loaded. Layer -1 is the model's `last_hidden_state`: with the
final norm, if the family has one for patches. Class and register tokens are dropped: a pooling
makes the summary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.base import TokenShape, VisionEncoder
from edge_glass.encoders.limits import MAX_IMAGE_SIZE, MAX_LAYERS, check_between, check_path
from edge_glass.encoders.towers.image_processor import ImageProcessorValues, read_image_processor
from edge_glass.encoders.towers.pixels import PadColor
from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.encoders.towers.pretrained import (
    copy_model,
    local_config,
    locate_model,
    named_model,
    no_progress_bar,
    one_line,
    table,
)
from edge_glass.encoders.towers.square import Fit
from edge_glass.encoders.towers.vision_families import Family, find_family, vision_part
from edge_glass.encoders.towers.weight_files import check_tensors_placed, refuse_pickles

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OPTION = "vision_encoders.transformers_vision"
# Patch size in pixels and width of the models that params.yaml names.
PUBLISHED_SIZES = {"openai/clip-vit-large-patch14-336": (14, 1024)}
# Hub models whose commit holds no safetensors.
PINNED_PICKLES = {"openai/clip-vit-large-patch14-336": "ce19dc912ca5cd21c8a653c79e251e808ccabcd1"}


class TransformersVisionEncoder(VisionEncoder):
    """Patch tokens from one hidden layer of a vision tower."""

    def __init__(
        self,
        config: TransformersVisionConfig,
        model: PreTrainedModel,
        processor: ImageProcessorValues | None = None,
    ) -> None:
        """Removes what comes after `config.layer` from the model and freezes it.

        Args:
            config: the layer, and how images are fitted.
            model: of a class that `FAMILIES` lists.
            processor: values for the pixels; those of the family if None.
        """
        super().__init__()
        shape: Any = model.config
        family = find_family(shape.to_dict(), where=str(config.model))
        values = processor or ImageProcessorValues(mean=family.mean, std=family.std)
        own_size = getattr(shape, "image_size", None)
        patch = _side(shape.patch_size)
        size = config.image_size or values.size or _side(own_size or 0)
        if not size:  # SigLIP 2 NaFlex
            raise ValueError(
                f"image_size is null, but {config.model} has no size of its own; set a multiple "
                f"of {patch}"
            )
        kept = kept_layers(config, shape.num_hidden_layers)
        _drop_unread(model, family, kept)
        self.config = config
        self.model = model
        self.family = family
        self.grid = patch_grid(size, patch)
        self.width = shape.hidden_size
        self.image_size = size
        self.patch = patch
        self.num_extra = family.has_class_token + getattr(shape, "num_register_tokens", 0)
        # For a size that is not the model's own, positions must be interpolated.
        interpolate = size != own_size
        self.options = {"interpolate_pos_encoding": interpolate} if family.takes_interpolate else {}
        self.transform = ImageTransform(
            image_size=size,
            fit=config.fit,
            mean=values.mean,
            std=values.std,
            pad_color=config.pad_color,
            resample=values.resample,
        )
        # tried with CLIP's class; the others run as they are
        self.can_be_recorded = family.model_class == "CLIPVisionModel" and not interpolate
        self.freeze()

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
        self.check_pixels(pixels)
        pixels = pixels.to(self.model.dtype)
        inputs: dict[str, Any] = {"pixel_values": pixels, **self.options}
        if self.family.takes_patches:
            inputs = self._as_patches(pixels)
        tokens: Tensor = self.model(**inputs).last_hidden_state[:, self.num_extra :]
        return tokens

    def _as_patches(self, pixels: Tensor) -> dict[str, Tensor]:
        """Returns flat patches, row by row, each pixel with its three colours."""
        p = self.patch
        patches = rearrange(pixels, "b c (h i) (w j) -> b (h w) (i j c)", i=p, j=p)
        grid = torch.tensor(self.grid).expand(len(pixels), 2)
        seen = torch.ones(patches.shape[:2], dtype=torch.int32, device=pixels.device)
        return {"pixel_values": patches, "pixel_attention_mask": seen, "spatial_shapes": grid}


def patch_grid(image_size: int, patch: int) -> tuple[int, int]:
    """Returns the rows and columns of patches of a square image, sizes in pixels."""
    if image_size < patch or image_size % patch:
        nearest = max(1, round(image_size / patch)) * patch
        raise ValueError(
            f"image_size is {image_size}, expected a multiple of {patch}, such as {nearest}"
        )
    return image_size // patch, image_size // patch


def kept_layers(config: TransformersVisionConfig, depth: int) -> int:
    """Returns how many layers run before the tokens of `config.layer`."""
    kept = config.layer if config.layer >= 0 else depth + 1 + config.layer
    if not 0 <= kept <= depth:
        raise ValueError(
            f"layer is {config.layer}, expected {-depth - 1} to {depth} for the {depth} layers "
            f"of {config.model} (0 is the embedding, -1 the last layer)"
        )
    return kept


def _side(size: Any) -> int:
    """Returns a size that may be given for both sides."""
    return int(size[0] if isinstance(size, list | tuple) else size)


def _size(vision: Mapping[str, Any], name: str, default: int, model: str) -> int:
    """Returns a size of a config.json, which transformers has not checked yet."""
    value = vision.get(name, default)
    side = value[0] if isinstance(value, list) and value else value
    if type(side) is not int or side < 1:
        raise ValueError(
            f"the config.json of {model} has {name} {value!r}, expected a whole number of at "
            "least 1; copy the model again"
        )
    return side


def _drop_unread(model: Any, family: Family, kept: int) -> None:
    """Removes the layers after the first `kept`, and what comes after them."""
    # Found by its class: its position in the model is not the same in all versions of transformers.
    encoder = next(m for m in model.modules() if type(m).__name__ == family.encoder_class)
    layers = getattr(encoder, family.layers)
    if kept < len(layers) and family.final_norm is not None:
        setattr(model, family.final_norm, nn.Identity())
    setattr(encoder, family.layers, layers[:kept])
    if getattr(model, "use_head", False):  # SigLIP's pooling
        model.use_head = False
        del model.head


@dataclass(frozen=True, kw_only=True)
class TransformersVisionConfig:
    """A vision tower of transformers, the layer of the tokens, and the size of the images.

    Attributes:
        model: a hub id, a folder, or `package:NAME`, of a whole model or only its vision tower.
        revision: the commit of a hub id.
        layer: the hidden layer: 0 is the embedding, -1 the last layer, -2 the last layer but one.
        image_size: side of the input in pixels, a multiple of the patch size; positions are
            interpolated if it is not the model's own. None is the model's own.
        fit: `pad` or `crop`, see `ImageTransform`.
        pad_color: `mean` or `white`.
    """

    model: str | None
    revision: str | None = None
    layer: int = -1
    image_size: int | None = None
    fit: Fit = "pad"
    pad_color: PadColor = "mean"

    def __post_init__(self) -> None:
        check_path(self, "model")
        check_between(self, 1, MAX_IMAGE_SIZE, "image_size")
        check_between(self, -MAX_LAYERS, MAX_LAYERS, "layer")

    def check_chosen(self) -> None:
        """Refuses an entry of params.yaml that waits for a model."""
        named_model(self.model, OPTION)

    def token_shape(self, image_size: int) -> TokenShape | None:
        """Returns the grid of patch tokens and their width for images of this size in pixels.

        Nothing is downloaded: None for a model of the hub that is not in the local cache, unless
        params.yaml names it.

        Raises:
            ValueError: if the family is unknown, or the layer or the size does not fit it.
        """
        model = named_model(self.model, OPTION)
        sizes = PUBLISHED_SIZES.get(model)
        if sizes is None:
            config = local_config(model, self.revision)
            if config is None:
                return None
            vision = vision_part(config)
            family = find_family(config, where=model)
            kept_layers(self, _size(vision, "num_hidden_layers", family.depth, model))
            patch = _size(vision, "patch_size", family.patch_size, model)
            sizes = patch, _size(vision, "hidden_size", family.width, model)
        patch, width = sizes
        return TokenShape(grid=patch_grid(image_size, patch), width=width)

    def build(self, image_size: int | None = None) -> TransformersVisionEncoder:
        """Loads the model, for `image_size` in place of the config's own if it is given.

        A package or a folder needs no network.

        Raises:
            FileNotFoundError: if the package or the folder does not exist.
            OSError: if the hub can't be reached and the model is not in its cache.
            ValueError: if a hub id has no commit, the folder holds no model of a known family,
                weights are missing, left over or a pickle, or `layer` or `image_size` don't fit
                the model.
        """
        model = named_model(self.model, OPTION)
        folder, local = locate_model(model, self.revision)

        import transformers

        place: dict[str, Any] = {"revision": self.revision or "main", "local_files_only": local}
        with one_line(model, is_local=local):
            values, _ = transformers.PreTrainedConfig.get_config_dict(folder, **place)
        family = find_family(table(values, model), where=model)
        if local:
            refuse_pickles(Path(folder), model)
        processor = read_image_processor(model, self.revision, family)
        with no_progress_bar(), one_line(model, is_local=local):
            loaded, found = getattr(transformers, family.model_class).from_pretrained(
                folder,
                # the pinned CLIP exists only as pickle; torch reads nothing but tensors from it
                use_safetensors=None if self._is_pinned_pickle() else True,
                weights_only=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
                **place,
            )
        misfits = sorted(found["mismatched_keys"])
        if misfits:
            name, has, expected = misfits[0]
            raise ValueError(
                f"{model}: {name} has shape {tuple(has)}, but config.json means {tuple(expected)} "
                f"({len(misfits)} such tensors); copy the model's whole folder again"
            )
        check_tensors_placed(
            model, found["missing_keys"], found["unexpected_keys"], family.elsewhere
        )
        config = self if image_size is None else replace(self, image_size=image_size)
        return TransformersVisionEncoder(config, loaded, processor)

    def _is_pinned_pickle(self) -> bool:
        """Whether it is the commit of a hub model that exists only as pickle."""
        return PINNED_PICKLES.get(self.model or "") == self.revision is not None

    def copy_weights(self, folder: Path) -> None:
        """Copies the model's files, if they lie on this machine; see `copy_model`."""
        copy_model(named_model(self.model, OPTION), self.revision, folder)

    def with_weights(self, folder: Path) -> TransformersVisionConfig:
        """Returns the config with the model in a folder that `copy_weights` wrote."""
        return replace(self, model=str(folder.resolve()), revision=None)


@dataclass(frozen=True, kw_only=True)
class ClipVisionConfig(TransformersVisionConfig):
    """A CLIP vision tower (Radford et al. 2021) with LLaVA's choices as defaults."""

    model: str | None = "openai/clip-vit-large-patch14-336"
    revision: str | None = PINNED_PICKLES["openai/clip-vit-large-patch14-336"]
    layer: int = -2
    image_size: int | None = 336
