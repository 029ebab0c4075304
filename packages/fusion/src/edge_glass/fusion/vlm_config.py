"""The complete config of a vision-language model, as `config.json` holds it.

Every option of every component is written, defaults included. A saved model therefore
stays the same model when a later version changes a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch

from edge_glass.decoders.base import Decoder
from edge_glass.decoders.tokenizer import is_word_tokenizer
from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.components import Component, ConfigError, as_options, component, validate
from edge_glass.encoders.limits import (
    MAX_IMAGE_SIZE,
    MAX_WIDTH,
    check_at_least,
    check_between,
    check_grid,
)
from edge_glass.encoders.towers.grid_average import with_grid
from edge_glass.fusion.base import Fusion
from edge_glass.fusion.concat import ConcatConfig
from edge_glass.fusion.visual_tokens import VisualTokens, VisualTokensConfig
from edge_glass.fusion.vlm_format_1 import FORMAT_1, from_format_1
from edge_glass.fusion.word_matches import AlignedPatches, AlignedSpace, WordMatches

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FORMAT = "edge-glass-vlm/2"
PARTS = ("vision_encoder", "pooling", "fusion", "decoder")


def check_llava(visual_tokens: VisualTokensConfig, fusion: Component) -> None:
    """Refuses visual tokens of kind llava with a fusion that changes them, and the reverse."""
    plain = isinstance(fusion.config, ConcatConfig) and fusion.config.projector == "none"
    if (visual_tokens.kind == "llava") != plain:
        raise ValueError(
            f"visual_tokens.kind is {visual_tokens.kind} with the fusion {fusion.name}; kind llava "
            "and the fusion concat with projector: none need each other"
        )


@dataclass(frozen=True, kw_only=True)
class VlmConfig:
    """What a vision-language model is made of; only the weights and the tokenizer are missing.

    Attributes:
        vision_encoder: the frozen encoder that `answer` runs.
        visual_tokens: how its features become visual tokens.
        pooling: the aligned pooling; None if `visual_tokens.kind` does not use it.
        fusion: how visual tokens enter the decoder.
        decoder: the language decoder.
        input_width: numbers in one token of the vision encoder.
        grid: rows and columns of these tokens.
        image_size: side of the encoder's square input in pixels.
        max_new_tokens: limit of an answer's length, in tokens.
        conversations: whether it learned questions that follow earlier ones.
        max_description_tokens: limit of a description's length; None if it did not learn to
            describe images.
        aligned_space: where words and patches are matched; None if they are not.
    """

    vision_encoder: Component
    visual_tokens: VisualTokensConfig
    pooling: Component | None
    fusion: Component
    decoder: Component
    input_width: int
    grid: tuple[int, int]
    image_size: int
    max_new_tokens: int
    conversations: bool = False
    max_description_tokens: int | None = None
    aligned_space: AlignedSpace | None = None

    def __post_init__(self) -> None:
        check_between(self, 1, MAX_WIDTH, "input_width")
        check_grid(self, "grid")
        check_between(self, 1, MAX_IMAGE_SIZE, "image_size")
        check_at_least(self, 1, "max_new_tokens", "max_description_tokens")
        kind = self.visual_tokens.kind
        if self.visual_tokens.uses_pooling == (self.pooling is None):
            raise ValueError(
                f"visual tokens are of kind {kind!r} and the pooling is {self.pooling!r}; give the "
                "aligned pooling for kinds 'pooled' and 'both', and None for 'grid' and 'llava'"
            )

        space = self.aligned_space
        if self.visual_tokens.aligned_dim != (0 if space is None else space.dim):
            raise ValueError(
                f"visual_tokens.aligned_dim is {self.visual_tokens.aligned_dim} and aligned_space "
                f"is {space!r}; give a space of so many dims, and none if it is 0"
            )

    def build(
        self, tokenizer: PreTrainedTokenizerFast, device: torch.device | None = None
    ) -> tuple[VisualTokens, Fusion, Decoder]:
        """Builds the trained parts with fresh weights, drawn from torch's global generator.

        `VisionLanguageModel(config, tokenizer)` calls it, and puts the parts together on the
        device.
        """
        check_llava(self.visual_tokens, self.fusion)
        pooling = None
        if self.pooling is not None:
            pooling = self.pooling.config.build(input_width=self.input_width, grid=self.grid)
        aligned = None
        if self.aligned_space is not None:
            aligned = AlignedPatches(self.aligned_space, self.input_width)
        visual_tokens = VisualTokens(
            self.visual_tokens,
            input_width=self.input_width,
            grid=self.grid,
            pooling=pooling,
            aligned=aligned,
        )
        decoder: Decoder = self.decoder.config.build(tokenizer, device)
        reads = self.aligned_space is not None and self.aligned_space.num_names > 0
        reading_width = decoder.width if reads else 0
        fusion: Fusion = self.fusion.config.build(
            visual_width=visual_tokens.width + reading_width, width=decoder.width
        )
        fusion.reading_width = reading_width
        return visual_tokens, fusion, decoder

    def build_matches(
        self, tokenizer: PreTrainedTokenizerFast, decoder: Decoder
    ) -> WordMatches | None:
        """Builds what adds the matches to word embeddings, if words are matched."""
        if self.aligned_space is None:
            return None
        rows, columns = self.grid
        device = next(decoder.parameters()).device
        from_scratch = is_word_tokenizer(tokenizer.backend_tokenizer)
        with torch.no_grad():
            ids = torch.tensor(sorted(tokenizer.get_vocab().values()), device=device)
            words = decoder.embed(ids)
        return WordMatches(
            self.aligned_space,
            vocab_size=len(decoder.word_embeddings),  # more than the tokenizer has, for many models
            unknown_id=tokenizer.unk_token_id if from_scratch else None,
            patches=rows * columns,
            width=decoder.width,
            size=float(words.float().square().mean().sqrt()),
        )

    def build_vision_encoder(self) -> VisionEncoder:
        """Builds the frozen encoder, averaged to this model's grid if its own grid is finer."""
        encoder: VisionEncoder = self.vision_encoder.config.build(image_size=self.image_size)
        return with_grid(encoder, self.grid)

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `config.json`: each component as its name and all its options."""
        parts = {kind: getattr(self, kind) for kind in PARTS}
        saved = {kind: None if part is None else part.saved() for kind, part in parts.items()}
        return {"format": FORMAT, **as_options(self), **saved}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str) -> VlmConfig:
        """Reads what `to_dict` returned, or a config of format 1; errors name the file `where`."""
        plain = dict(values)
        found = plain.pop("format", None)
        if found not in (FORMAT, FORMAT_1):
            raise ConfigError(
                f"{where}: format is {found!r}, expected {FORMAT!r} or {FORMAT_1!r}; give the "
                "folder of a vision-language model, or update edge-glass-fusion"
            )
        names = {field.name for field in fields(cls)}
        # models that were saved before an option existed do not have it
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not needed <= set(plain) <= names:
            raise ConfigError(
                f"{where}: missing {sorted(needed - set(plain))}, unknown "
                f"{sorted(set(plain) - names)}; copy the model's whole folder again"
            )
        if found == FORMAT_1:
            plain = from_format_1(plain)
        parts: dict[str, Any] = {}
        for kind in PARTS:
            part = plain[kind]
            if part is None and kind == "pooling":
                continue
            if not isinstance(part, Mapping) or set(part) != {"name", "options"}:
                raise ConfigError(f"{where}: {kind} is {part!r}, expected a name and options")
            name, options = part["name"], part["options"]
            config = component(kind, name, options, where=f"{where}: {kind}")
            parts[kind] = Component(name=name, config=config)
            plain[kind] = {"name": name, "config": options}
        return replace(validate(cls, plain, where=where), **parts)
