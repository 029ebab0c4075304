"""CLIP's vision tower (Radford et al. 2021) as a patch encoder, frozen.

What is unusual: the tokens come from a hidden layer before the last one, because its patches still
describe their own part of the image (LLaVA takes the last layer but one). Later layers are dropped
when the model is loaded. The class token is dropped too: a pooling makes the summary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.base import TokenShape, VisionEncoder
from edge_glass.encoders.limits import MAX_IMAGE_SIZE, MAX_LAYERS, check_between, check_path
from edge_glass.encoders.towers.preprocessing import PadColor, image_transform
from edge_glass.encoders.towers.pretrained import local_config, locate_model, no_progress_bar
from edge_glass.encoders.towers.square import Fit

if TYPE_CHECKING:
    from transformers import CLIPVisionModel

# Mean and standard deviation of the images that CLIP was trained on.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
# Patch size in pixels and width of the models that params.yaml names.
PUBLISHED_SIZES = {"openai/clip-vit-large-patch14-336": (14, 1024)}
# Other parts of a checkpoint of the whole CLIP.
NOT_VISION = ("text_model.", "text_projection", "visual_projection", "logit_scale", "position_ids")


class ClipVisionEncoder(VisionEncoder):
    """Patch tokens from one hidden layer of a `CLIPVisionModel`."""

    def __init__(self, config: ClipVisionConfig, model: CLIPVisionModel) -> None:
        """Removes the layers after `config.layer` from the model and freezes it."""
        super().__init__()
        shape: Any = model.config
        depth, patch = shape.num_hidden_layers, shape.patch_size
        kept = config.layer if config.layer >= 0 else depth + 1 + config.layer
        if not 0 <= kept <= depth:
            raise ValueError(
                f"layer is {config.layer}, expected {-depth - 1} to {depth} for the {depth} layers "
                f"of {config.model} (0 is the embedding, -1 the last layer)"
            )
        self.grid = patch_grid(config.image_size, patch)
        encoder: Any = _layer_stack(model)
        encoder.layers = encoder.layers[:kept]
        self.config = config
        self.model = model
        self.width = shape.hidden_size
        self.image_size = config.image_size
        # For a size that is not the model's own, positions must be interpolated.
        self.interpolate = config.image_size != shape.image_size
        self.transform = image_transform(config.image_size, config.fit, MEAN, STD, config.pad_color)
        self.freeze()

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
        self.check_pixels(pixels)
        output = self.model(
            pixel_values=pixels.to(self.model.dtype), interpolate_pos_encoding=self.interpolate
        )
        tokens: Tensor = output.last_hidden_state[:, 1:]  # without the class token
        return tokens


def patch_grid(image_size: int, patch: int) -> tuple[int, int]:
    """Returns the rows and columns of patches of a square image, sizes in pixels."""
    if image_size < patch or image_size % patch:
        raise ValueError(f"image_size is {image_size}, expected a multiple of {patch}")
    return image_size // patch, image_size // patch


def _layer_stack(model: nn.Module) -> nn.Module:
    from transformers.models.clip.modeling_clip import CLIPEncoder

    # Found by its class: its position in the model is not the same in all versions of transformers.
    return next(module for module in model.modules() if isinstance(module, CLIPEncoder))


@dataclass(frozen=True, kw_only=True)
class ClipVisionConfig:
    """A CLIP vision tower, the layer of the tokens, and the size of the images.

    Attributes:
        model: a hub id, a folder, or `package:NAME`, of a whole CLIP or only its vision tower.
        revision: the commit of a hub id; the default is that of the default model.
        layer: the hidden layer: 0 is the embedding, -1 the last layer, -2 the last layer but one.
        image_size: side of the input in pixels, a multiple of the patch size; positions are
            interpolated if it is not the model's own.
        fit: `pad` or `crop`, see `ImageTransform`.
        pad_color: `mean` or `white`.
    """

    model: str = "openai/clip-vit-large-patch14-336"
    revision: str | None = "ce19dc912ca5cd21c8a653c79e251e808ccabcd1"
    layer: int = -2
    image_size: int = 336
    fit: Fit = "pad"
    pad_color: PadColor = "mean"

    def __post_init__(self) -> None:
        check_path(self, "model")
        check_between(self, 1, MAX_IMAGE_SIZE, "image_size")
        check_between(self, -MAX_LAYERS, MAX_LAYERS, "layer")

    def token_shape(self, image_size: int) -> TokenShape | None:
        """Returns the grid of patch tokens and their width for images of this size in pixels.

        Nothing is downloaded: None for a model of the hub that is not in the local cache, unless it
        is the default model.
        """
        sizes = PUBLISHED_SIZES.get(self.model)
        if sizes is None:
            config = local_config(self.model, self.revision)
            if config is None:
                return None
            # a whole CLIP has the vision tower's config inside; the defaults are transformers' own
            vision = config.get("vision_config", config)
            sizes = int(vision.get("patch_size", 32)), int(vision.get("hidden_size", 768))
        patch, width = sizes
        return TokenShape(grid=patch_grid(image_size, patch), width=width)

    def build(self, image_size: int | None = None) -> ClipVisionEncoder:
        """Loads the model, for `image_size` in place of the config's own if it is given.

        A package or a folder needs no network.

        Raises:
            FileNotFoundError: if the package or the folder does not exist.
            OSError: if the hub can't be reached and the model is not in its cache.
            ValueError: if a hub id has no commit, the folder holds no CLIP, weights are missing or
                left over, or `layer` or `image_size` don't fit the model.
        """
        folder, local = locate_model(self.model, self.revision)

        from transformers import CLIPVisionModel

        with no_progress_bar():
            loaded: Any = CLIPVisionModel.from_pretrained(
                folder,
                revision=self.revision or "main",
                local_files_only=local,
                weights_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        model, found = loaded
        extra = [name for name in found["unexpected_keys"] if not _elsewhere_in_clip(name)]
        if found["missing_keys"] or extra or found["mismatched_keys"]:
            raise ValueError(
                f"{self.model} does not fit CLIPVisionModel: missing "
                f"{sorted(found['missing_keys'])}, extra {sorted(extra)}, of a different shape "
                f"{sorted(found['mismatched_keys'])}"
            )
        config = self if image_size is None else replace(self, image_size=image_size)
        return ClipVisionEncoder(config, model)


def _elsewhere_in_clip(name: str) -> bool:
    return name.startswith(NOT_VISION) or name.endswith("position_ids")
