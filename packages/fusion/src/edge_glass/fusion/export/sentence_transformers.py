"""A dual encoder as a folder that sentence-transformers loads: one module for texts and images.

    SentenceTransformer(folder, trust_remote_code=True).encode(["a dog", image], truncate_dim=64)

What is unusual: the module is a class of this package, not of sentence-transformers. Its own
modules have no attention pooling, no feature maps of several layers, and no sum of two branches
(the `mlp` head). sentence-transformers 6 imports a class of a different package only with
`trust_remote_code=True`, although the folder holds no code. Without the flag:
`SentenceTransformer(modules=[DualEncoderModule.load(folder)])`.

The folder also holds the weights of frozen encoders that came from a Python package or a folder;
those of the hub are named by their commit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modality import infer_modality
from sentence_transformers.base.modality_types import Modality
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from edge_glass.encoders.checkpoint import building, load_checkpoint
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.encoders.towers.sentence import SentenceEncoder

FROZEN_PARTS = ("vision_encoder", "text_encoder")
MODALITIES: list[Modality] = ["text", "image"]


class DualEncoderModule(InputModule):
    """Texts and images, in any order in one batch, to normalised embeddings."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        if isinstance(model.text, SentenceEncoder):  # a plug-in's encoder may have none
            self.tokenizer = model.text.model.tokenizer

    @property
    def modalities(self) -> list[Modality]:
        """The kinds of input; sentence-transformers recognises them."""
        # "message" is its name for a batch of several kinds; a real message is refused below
        return [*MODALITIES, "message"]

    @property
    def max_seq_length(self) -> int | None:
        """Texts are cut to this number of tokens."""
        return self.model.text.max_tokens if self.model.text is not None else None

    def get_embedding_dimension(self) -> int:
        """Returns the dim of the embeddings, the largest Matryoshka dim."""
        return self.model.config.matryoshka_dims[0]

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Sorts a batch into texts and images; the encoders preprocess them in `forward`.

        Raises:
            ValueError: if an input is neither a text nor an image.
        """
        del kwargs
        kinds = [infer_modality(each, supported_modalities=MODALITIES) for each in inputs]
        wrong = sorted({str(kind) for kind in kinds if kind not in MODALITIES})
        if wrong:
            raise ValueError(f"found inputs of kind {', '.join(wrong)}, expected texts and images")
        found = list(zip(inputs, kinds, strict=True))
        return {
            "texts": [f"{prompt or ''}{each}" for each, kind in found if kind == "text"],
            "images": [open_image(each) for each, kind in found if kind == "image"],
            "is_image": [kind == "image" for kind in kinds],
        }

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds `sentence_embedding`, (B, E), in the order of the inputs."""
        del kwargs
        texts, images = features["texts"], features["images"]
        parts = {
            True: iter(self.model.encode_image(images)),
            False: iter(self.model.encode_text(texts, batch_size=max(1, len(texts)))),
        }
        rows = [next(parts[is_image]) for is_image in features["is_image"]]
        embeddings: Tensor = torch.stack(rows).to(self.model.logit_scale.device)
        return {**features, "sentence_embedding": embeddings}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Writes config.json, model.safetensors and a folder for each frozen encoder with files."""
        del args, kwargs
        self.model.save_pretrained(output_path)
        for part in FROZEN_PARTS:
            config = getattr(self.model.config, part).config
            if hasattr(config, "copy_weights"):
                config.copy_weights(Path(output_path) / part)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> DualEncoderModule:
        """Loads what `save` wrote, from a folder or a hub id."""
        del init_defaults, kwargs
        folder = cls.load_dir_path(
            model_name_or_path,
            subfolder=subfolder,
            token=token,
            cache_folder=cache_folder,
            revision=revision,
            local_files_only=local_files_only,
        )
        if folder is None:
            raise FileNotFoundError(f"{model_name_or_path} holds no folder {subfolder!r}")
        return cls(load_with_encoders(folder))


def load_with_encoders(folder: str | os.PathLike[str]) -> DualEncoder:
    """Loads a dual encoder whose folder may hold the weights of its frozen encoders.

    Raises:
        CheckpointError: if a file is missing or broken, or names or shapes don't agree.
        ConfigError: if the config is not that of a dual encoder.
    """
    values, tensors = load_checkpoint(folder)
    config = DualEncoderConfig.from_dict(values, where=f"{folder}/config.json")
    copies = {
        part: replace(found, config=found.config.with_weights(Path(folder) / part))
        for part in FROZEN_PARTS
        if (Path(folder) / part).is_dir() and (found := getattr(config, part))
    }
    with building(folder):
        vision, text = replace(config, **copies).build_encoders()
        # Fresh weights are drawn and then overwritten: the caller's generator must not change.
        with torch.random.fork_rng(devices=[]):
            model = DualEncoder(config, vision=vision, text=text)
    model.load_saved_state(tensors, where=str(folder))
    return model.eval()


def open_image(value: Any) -> Image.Image:
    """Returns an image that is given as a PIL image, an array (H, W, 3) of bytes, or a path.

    Raises:
        ValueError: if it can't be read as an image.
    """
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, str) and Path(value).is_file():
        try:
            return to_rgb(decode_image(Path(value).read_bytes()))
        except BadImageError as error:
            raise ValueError(f"{value}: not a readable image ({error.detail})") from None
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return Image.fromarray(value)
    kind = value[:40] if isinstance(value, str) else type(value).__name__
    raise ValueError(
        f"found an image as {kind}, expected a PIL image, an array of bytes (H, W, 3) or the path "
        "of a file"
    )


def write_folder(model: Path, folder: Path) -> None:
    """Writes the folder of a dual encoder in the format of sentence-transformers."""
    encoder = DualEncoder.from_pretrained(model)
    exported = SentenceTransformer(modules=[DualEncoderModule(encoder)], device="cpu")
    exported.save_pretrained(str(folder), create_model_card=False)
