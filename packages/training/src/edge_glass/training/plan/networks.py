"""The networks of a configuration without weights, built on torch's meta device from sizes alone.

A vision encoder that is not of transformers (the package of the sample, 13 MB, or one of timm) is
built as it is, with its weights, if it is on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from edge_glass.decoders.base import Decoder
from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.causal_lm_config import DTYPES, CausalLmConfig
from edge_glass.decoders.model_source import GGUF
from edge_glass.decoders.qwen2_sizes import build_qwen2
from edge_glass.decoders.trm import TinyRecursiveConfig
from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.components import Component
from edge_glass.encoders.towers.grid_average import with_grid
from edge_glass.encoders.towers.pretrained import local_config
from edge_glass.encoders.towers.sentence import SentenceConfig
from edge_glass.encoders.towers.timm_vision import TimmVisionConfig
from edge_glass.encoders.towers.transformers_vision import (
    TransformersVisionConfig,
    TransformersVisionEncoder,
)
from edge_glass.encoders.towers.vision_families import find_family, vision_part
from edge_glass.training.features.config import Pool, pooled_grid
from edge_glass.training.plan.published import PUBLISHED


class UnknownSizeError(ValueError):
    """A model whose size is not known before it is loaded."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What building a decoder reads of a tokenizer: the number of its entries."""

    size: int
    chat_template: str = ""
    bos_token_id: int | None = None
    eos_token_id: int = 0
    pad_token_id: int = 0

    def __len__(self) -> int:
        return self.size


@dataclass(frozen=True, kw_only=True)
class EmptyDecoder:
    """Stands for a decoder's config and builds the decoder without weights.

    Attributes:
        num_layers: in place of the config's own number.
    """

    config: Any
    num_layers: int | None = None

    def own_layers(self) -> int | None:
        """Returns the number of layers of a decoder whose layers are all alike, else None."""
        if not isinstance(self.config, CausalLmConfig):
            return None
        sizes = self._sizes()
        number = None if "layer_types" in sizes else sizes.get("num_hidden_layers")
        return number if isinstance(number, int) else None

    def _sizes(self) -> dict[str, Any]:
        config = self.config
        own = config.config or _sizes_of(str(config.model), config.revision)
        changed = {} if self.num_layers is None else {"num_hidden_layers": self.num_layers}
        return {**own, **changed}

    def build(self, tokenizer: Any, device: torch.device | None = None) -> Decoder:
        """Returns the decoder on the meta device; its adapters are those of the real one."""
        del device
        with torch.device("meta"):
            return self._build(tokenizer)

    def _build(self, tokenizer: Any) -> Decoder:
        config = self.config
        if isinstance(config, TinyRecursiveConfig):
            return config.build(tokenizer)
        if not isinstance(config, CausalLmConfig):
            raise UnknownSizeError(f"{type(config).__name__}: the size of a plug-in is not known")
        model: Any
        if config.config is not None:
            model = build_qwen2(self._sizes(), tokenizer, DTYPES[config.dtype])
        else:
            from transformers import AutoConfig, AutoModelForCausalLM

            loader: Any = AutoModelForCausalLM
            sizes = AutoConfig.for_model(**self._sizes())
            model = loader.from_config(sizes, attn_implementation="sdpa").to(DTYPES[config.dtype])
        return CausalLmDecoder(
            model,
            lora=config.lora,
            quantization=config.quantization,
            gradient_checkpointing=config.gradient_checkpointing,
        )


def empty_vision(choice: Component, image_size: int, pool: Pool) -> VisionEncoder:
    """Returns the frozen vision encoder as `encode` runs it."""
    config = choice.config
    if isinstance(config, TransformersVisionConfig):
        import transformers

        sizes = _sizes_of(str(config.model), config.revision)
        family = find_family(sizes, where=str(config.model))
        model_class = getattr(transformers, family.model_class)
        with torch.device("meta"):
            model = model_class(model_class.config_class(**vision_part(sizes)))
        built: VisionEncoder = TransformersVisionEncoder(
            replace(config, image_size=image_size), model
        )
    else:
        if isinstance(config, TimmVisionConfig):
            _sizes_of(str(config.model), config.revision)  # otherwise `build` would download it
        built = config.build(image_size=image_size)
    return with_grid(built, pooled_grid(built.grid, pool))


def empty_text(choice: Component) -> tuple[nn.Module, int]:
    """Returns the transformer of the text encoder, and the width of its vectors."""
    config = choice.config
    if not isinstance(config, SentenceConfig):
        raise UnknownSizeError(
            f"text_encoder {choice.name} is a plug-in, whose size is not known before it is loaded"
        )
    from transformers import AutoConfig, AutoModel

    sizes = AutoConfig.for_model(**_sizes_of(str(config.model), config.revision))
    with torch.device("meta"):
        loader: Any = AutoModel
        model = loader.from_config(sizes)
    return model, int(model.config.hidden_size)


def _sizes_of(model: str, revision: str | None) -> dict[str, Any]:
    """Returns a model's config.json: of this machine, or of the table; nothing is downloaded."""
    # a GGUF file has no config.json; what lies beside it is that of a different model
    local = None if model.endswith(GGUF) else local_config(model, revision)
    found = local or PUBLISHED.get(model)
    if found is None:
        raise UnknownSizeError(
            f"the sizes of {model} are not known here: give a folder that holds its config.json, "
            "or load the model once with a network"
        )
    return found
