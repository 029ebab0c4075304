"""The aligned dual encoder: images and texts in one space, at each Matryoshka dim.

    images -> vision (frozen) -> features (B, P, D) -> pooling (B, N, W) -> image_head (B, E)
    texts  -> text (frozen)   -> features (B, Dt)                       -> text_head  (B, E)

What is unusual: the frozen encoders are optional. Training works on their cached features and needs
only the pooling and the heads, and a checkpoint holds only these. `from_pretrained` builds the
encoders from their configs, or `add_encoders` builds the one that is needed. The embedding of an
image or a text has the same bits whatever else is encoded with it, because each network runs on
batches of one size.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from edge_glass.encoders.base import TextEncoder, VisionEncoder
from edge_glass.encoders.checkpoint import (
    building,
    check_tensors,
    load_checkpoint,
    save_checkpoint,
)
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig
from edge_glass.encoders.hub import find_model_folder, publish_folder
from edge_glass.encoders.matryoshka import truncate

DualEncoderT = TypeVar("DualEncoderT", bound="DualEncoder")
ItemT = TypeVar("ItemT")
FROZEN = ("vision.", "text.")


class DualEncoder(nn.Module):
    """Pooling, two heads and a learned temperature, with or without the frozen encoders.

    Attributes:
        config: the config that it was built from.
        logit_scale: logarithm of the inverse temperature, learned; the loss clamps it.
    """

    def __init__(
        self,
        config: DualEncoderConfig,
        *,
        vision: VisionEncoder | None = None,
        text: TextEncoder | None = None,
    ) -> None:
        """Draws the weights of pooling and heads from torch's global generator."""
        super().__init__()
        self.config = config
        config.check_encoders(vision, text)
        self.vision = vision
        self.text = text
        self.pooling = config.pooling.config.build(config.image_width, config.grid)
        flat = self.pooling.num_tokens if config.token_reduction == "flatten" else 1
        self.image_head = config.build_head(self.pooling.width * flat, config.image_dropout)
        self.text_head = config.build_head(config.text_width, config.text_dropout)
        self.logit_scale = nn.Parameter(torch.tensor(config.init_logit_scale))

    def pool(self, features: Float[Tensor, "B P D"]) -> Float[Tensor, "B N W"]:
        """Pools the patch tokens of an image to a few visual tokens."""
        tokens: Tensor = self.pooling(features)
        return tokens

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context in which embeddings are computed, in training and afterwards.

        A GPU computes matrix products in bfloat16. Weights and embeddings are float32.
        """
        device = self.logit_scale.device.type
        return torch.autocast(device, torch.bfloat16) if device == "cuda" else nullcontext()

    def image_embeddings(self, features: Float[Tensor, "B P D"]) -> Float[Tensor, "B E"]:
        """Embeds images from features of the vision encoder; not normalised."""
        with self.autocast():
            return _as_float32(self.image_head(self.reduce(self.pool(features))))

    def reduce(self, tokens: Float[Tensor, "B N W"]) -> Float[Tensor, "B Dh"]:
        """Joins the visual tokens of an image to the vector that the image head reads."""
        if self.config.token_reduction == "mean":
            return tokens.mean(dim=1)
        return rearrange(tokens, "b n w -> b (n w)")

    def text_embeddings(self, features: Float[Tensor, "B Dt"]) -> Float[Tensor, "B E"]:
        """Embeds texts from features of the text encoder; not normalised."""
        if features.shape[1] != self.text_head.input_width:
            raise ValueError(
                f"text features have width {features.shape[1]}, expected "
                f"{self.text_head.input_width}: encode the texts with the text encoder that the "
                f"model was built for, {self.config.text_encoder.name}"
            )
        with self.autocast():
            return _as_float32(self.text_head(features))

    @torch.no_grad()
    def encode_image(
        self,
        images: Sequence[Image.Image],
        *,
        truncate_dim: int | None = None,
        batch_size: int | None = None,
    ) -> Float[Tensor, "B d"]:
        """Embeds images: the first `truncate_dim` numbers, normalised, on the CPU.

        Args:
            images: of any size and mode.
            truncate_dim: a dim up to the largest Matryoshka dim; the largest if None.
            batch_size: images encoded at once; if None, 1 on a CPU and 32 elsewhere. The last batch
                is filled up, so that the bits of an embedding depend on this number (kernels sum in
                a different order) and on no other image.

        Raises:
            RuntimeError: if the model was loaded without its encoders.
            ValueError: if the dim or the batch size is out of range, or (`BadImageError`) an image
                can't be shown as RGB.
        """
        if self.vision is None:
            raise RuntimeError(_without("vision", "encode_image"))
        device = self.logit_scale.device
        size = _batch_size(batch_size, 1 if device.type == "cpu" else 32)
        self.config.check_truncate_dim(truncate_dim)
        parts = []
        with _evaluating(self):
            for chunk in _chunks(images, size):
                pixels = _filled(self.vision.preprocess(chunk), size)
                embeddings = self.image_embeddings(self.vision.encode(pixels)).cpu()
                parts.append(truncate(embeddings, truncate_dim)[: len(chunk)])
        return torch.cat(parts) if parts else self._no_embeddings(truncate_dim)

    @torch.no_grad()
    def image_attention(self, image: Image.Image) -> Float[Tensor, "N P"] | None:
        """Returns how much each pooled token takes of each patch, on the CPU.

        Patches are in rows from the top left of the encoder's square, see `square.image_box`. It is
        None if the pooling has no such weights.

        Raises:
            RuntimeError: if the model was loaded without its encoders.
        """
        if self.vision is None:
            raise RuntimeError(_without("vision", "image_attention"))
        with _evaluating(self):
            pixels = self.vision.preprocess([image])
            weights = self.pooling.attention_weights(self.vision.encode(pixels))
        return None if weights is None else weights[0].cpu()

    @torch.no_grad()
    def encode_text(
        self, texts: Sequence[str], *, truncate_dim: int | None = None, batch_size: int = 1
    ) -> Float[Tensor, "B d"]:
        """Embeds texts: the first `truncate_dim` numbers, normalised, on the CPU.

        Args:
            texts: longer ones are cut by the tokenizer of the text encoder.
            truncate_dim: a dim up to the largest Matryoshka dim; the largest if None.
            batch_size: texts encoded at once. With 1 the bits of an embedding depend on no other
                text; with more they are equal within 1e-5, because texts are padded to the longest.

        Raises:
            RuntimeError: if the model was loaded without its encoders.
            ValueError: if the dim or the batch size is out of range.
        """
        if self.text is None:
            raise RuntimeError(_without("text", "encode_text"))
        size = _batch_size(batch_size, 1)
        self.config.check_truncate_dim(truncate_dim)
        parts = []
        with _evaluating(self):
            for chunk in _chunks(texts, size):
                features = self.text.encode(chunk).to(self.logit_scale.device)
                parts.append(truncate(self.text_embeddings(features).cpu(), truncate_dim))
        return torch.cat(parts) if parts else self._no_embeddings(truncate_dim)

    def add_encoders(self, *, vision: bool = False, text: bool = False) -> None:
        """Builds a frozen encoder on the device of the model; one that exists is kept."""
        device = self.logit_scale.device
        if vision and self.vision is None:
            self.vision = self.config.build_vision_encoder().to(device)
        if text and self.text is None:
            self.text = self.config.text_encoder.config.build().to(device)
        self.config.check_encoders(self.vision, self.text)

    def _no_embeddings(self, truncate_dim: int | None) -> Tensor:
        return torch.empty(0, truncate_dim or self.image_head.dims[0])

    def saved_state(self) -> dict[str, Tensor]:
        """Returns what a checkpoint holds: all tensors but those of the frozen encoders."""
        state = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith(FROZEN)}

    def load_saved_state(
        self, tensors: Mapping[str, Tensor], *, where: str = "the checkpoint"
    ) -> None:
        """Loads what `saved_state` returned; errors name the place `where`."""
        check_tensors(self.saved_state(), tensors, where=where)
        frozen = {n: v for n, v in self.state_dict().items() if n.startswith(FROZEN)}
        self.load_state_dict({**frozen, **tensors}, strict=True)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes config.json and model.safetensors; equal models give equal bytes."""
        save_checkpoint(folder, self.config.to_dict(), self.saved_state())

    def push_to_hub(self, repo_id: str, *, card: str = "", private: bool = False) -> str:
        """Publishes the model on the Hugging Face Hub, and returns the commit.

        `edge-glass push` also writes a card with figures and hashes.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return publish_folder(Path(folder), repo_id, card=card, private=private)

    @classmethod
    def from_pretrained(
        cls: type[DualEncoderT],
        folder: str | os.PathLike[str],
        *,
        revision: str | None = None,
        load_encoders: bool = True,
    ) -> DualEncoderT:
        """Loads what `save_pretrained` wrote, in evaluation mode.

        `folder` may be a hub id, with its commit as `revision`. `load_encoders` also builds the
        frozen encoders, which `encode_image` and `encode_text` need. Without them the model takes
        features, and `add_encoders` builds one later.

        Raises:
            CheckpointError: if a file is missing or broken, or names or shapes don't agree.
            ConfigError: if the config is not that of a dual encoder.
            ValueError: if an encoder has a different dim or grid than the config.
        """
        folder = find_model_folder(folder, revision)
        values, tensors = load_checkpoint(folder)
        config = DualEncoderConfig.from_dict(values, where=f"{folder}/config.json")
        with building(folder):
            vision, text = config.build_encoders() if load_encoders else (None, None)
            # Fresh weights are drawn and then overwritten: the caller's generator must not change.
            with torch.random.fork_rng(devices=[]):
                model = cls(config, vision=vision, text=text)
        model.load_saved_state(tensors, where=str(folder))
        return model.eval()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Sets a module to evaluation mode during the block, and restores its mode afterwards."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _as_float32(embeddings: Tensor) -> Tensor:
    # no operation if there is nothing to do: exported graphs hold each one
    return embeddings if embeddings.dtype == torch.float32 else embeddings.float()


def _batch_size(asked: int | None, default: int) -> int:
    if asked is not None and asked < 1:
        raise ValueError(f"batch_size is {asked}, expected at least 1")
    return asked or default


def _chunks(items: Sequence[ItemT], size: int) -> Iterator[Sequence[ItemT]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _filled(pixels: Float[Tensor, "b 3 H W"], size: int) -> Float[Tensor, "B 3 H W"]:
    """Repeats the first image until the batch is full; the results for the copies are dropped."""
    missing = size - len(pixels)
    return torch.cat([pixels, pixels[:1].expand(missing, -1, -1, -1)]) if missing else pixels


def _without(part: str, method: str) -> str:
    return (
        f"this model has no {part} encoder, which {method} needs: load it with "
        f"DualEncoder.from_pretrained(folder), or call add_encoders({part}=True)"
    )
