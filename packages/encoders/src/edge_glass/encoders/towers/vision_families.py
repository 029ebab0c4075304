"""The vision towers of transformers that can be an encoder, by family: what differs between them.

A family is the `model_type` of a config.json. Tokens before the patches (class, registers) are
dropped: a pooling makes the summary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLIP_MEAN, CLIP_STD = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class Family:
    """How the towers of one family are loaded and read.

    Attributes:
        model_class: the class in transformers.
        encoder_class: the class of the module that holds the layers.
        layers: the attribute that holds them.
        final_norm: the attribute of the norm after the last layer, None if patches have none.
        mean, std: of the pixels, if the folder has no config of an image processor.
        has_class_token: the first token is not a patch.
        patch_size, width, depth: what transformers uses if a config.json leaves them out.
        takes_patches: the input is flat patches with a grid (NaFlex), not an image.
        takes_interpolate: positions are interpolated only if the call requests it.
        elsewhere: names of weights of other parts, which a checkpoint may hold.
    """

    model_class: str
    encoder_class: str
    layers: str = "layer"
    final_norm: str | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    has_class_token: bool = True
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    takes_patches: bool = False
    takes_interpolate: bool = False
    elsewhere: tuple[str, ...] = ("classifier.",)


OTHER_SIDE = ("text_model.", "text_projection", "visual_projection", "logit_scale", "logit_bias")
FAMILIES: dict[str, Family] = {
    "clip": Family(
        model_class="CLIPVisionModel",
        encoder_class="CLIPEncoder",
        layers="layers",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        patch_size=32,
        takes_interpolate=True,
        elsewhere=(*OTHER_SIDE, "position_ids"),
    ),
    "siglip": Family(
        model_class="SiglipVisionModel",
        encoder_class="SiglipEncoder",
        layers="layers",
        final_norm="post_layernorm",
        mean=HALF,
        std=HALF,
        has_class_token=False,
        takes_interpolate=True,
        elsewhere=OTHER_SIDE,
    ),
    "siglip2": Family(
        model_class="Siglip2VisionModel",
        encoder_class="Siglip2Encoder",
        layers="layers",
        final_norm="post_layernorm",
        mean=HALF,
        std=HALF,
        has_class_token=False,
        takes_patches=True,
        elsewhere=OTHER_SIDE,
    ),
    "dinov2": Family(
        model_class="Dinov2Model",
        encoder_class="Dinov2Encoder",
        final_norm="layernorm",
        patch_size=14,
    ),
    "dinov2_with_registers": Family(
        model_class="Dinov2WithRegistersModel",
        encoder_class="Dinov2WithRegistersEncoder",
        final_norm="layernorm",
    ),
    "dinov3_vit": Family(
        model_class="DINOv3ViTModel",
        encoder_class="DINOv3ViTEncoder",
        final_norm="norm",
        width=384,
    ),
}


def vision_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the config of the vision tower: a whole CLIP has it inside its own."""
    inner = config.get("vision_config", config)
    return inner if isinstance(inner, Mapping) else config


def find_family(config: Mapping[str, Any], *, where: str) -> Family:
    """Returns the family of the model that a config.json describes; errors name the model."""
    kind = str(config.get("model_type"))
    family = FAMILIES.get(kind.removesuffix("_vision_model"))
    if family is None:
        raise ValueError(
            f"{where} is a model of type {kind}, expected one of {', '.join(FAMILIES)}: choose a "
            "different model, or add a vision encoder as a plug-in (CONTRIBUTING.md)"
        )
    return family
