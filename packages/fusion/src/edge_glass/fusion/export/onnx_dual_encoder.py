"""A dual encoder as ONNX: `vision_model` and `text_model`, in the layout of transformers.js.

OUT/config.json                        dims, normalisation and preprocessing as data
OUT/onnx/vision_model.onnx             pixel_values (batch, 3, H, W) -> image_embeds (batch, E)
OUT/onnx/text_model.onnx               input_ids, attention_mask (batch, T) -> text_embeds
OUT/onnx/*_int8.onnx                   the same in int8
OUT/tokenizer.json, OUT/preprocessor_config.json ...
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.towers.sentence import SentenceEncoder
from edge_glass.fusion.edge.config import CONFIG_FILE, DUAL_ENCODER, FORMAT
from edge_glass.fusion.edge.dual_encoder import EdgeDualEncoder
from edge_glass.fusion.edge.folder import TOKENIZER_FILE
from edge_glass.fusion.export.held_out import CaptionedImages, open_image
from edge_glass.fusion.export.onnx_graph import WriteGraph, write_graph
from edge_glass.fusion.export.parity import check_limits, differences, recall_change, recalls

NAMES = ("vision_model", "text_model")


class VisionModel(nn.Module):
    """Pixels to normalised image embeddings."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        assert self.model.vision is not None
        features = self.model.vision(pixel_values)
        return nn.functional.normalize(self.model.image_embeddings(features), dim=1)


class TextModel(nn.Module):
    """Token ids to normalised text embeddings."""

    def __init__(self, model: DualEncoder, encoder: SentenceEncoder) -> None:
        super().__init__()
        self.model = model
        self.sentence = encoder.model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.sentence({"input_ids": input_ids, "attention_mask": attention_mask})
        features = found["sentence_embedding"].float()
        return nn.functional.normalize(self.model.text_embeddings(features), dim=1)


def text_encoder(model: DualEncoder) -> SentenceEncoder:
    """Returns the text encoder, which must read padded tokens and a mask.

    Raises:
        ValueError: if it is of a different kind.
    """
    encoder = model.text
    if not isinstance(encoder, SentenceEncoder):
        raise ValueError(
            f"the text encoder {model.config.text_encoder.name} is no SentenceTransformer, the "
            "only kind that this format can express"
        )
    tokenizer: Any = encoder.model.tokenizer
    if not getattr(tokenizer, "is_fast", False) or tokenizer.pad_token_id is None:
        raise ValueError(
            f"the text encoder {encoder.config.model} has no fast tokenizer of transformers with a "
            "padding token, as this format needs it (static embeddings have none): align with a "
            "different one"
        )
    return encoder


def write_graphs(model: DualEncoder, folder: Path, write: WriteGraph = write_graph) -> None:
    """Writes both graphs in float32."""
    assert model.vision is not None
    text = text_encoder(model)
    size = model.vision.image_size
    write(
        VisionModel(model).eval(),
        {"pixel_values": torch.zeros(2, 3, size, size)},
        ["image_embeds"],
        {"pixel_values": {0: "batch"}},
        folder / "vision_model.onnx",
    )
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 0, 0]])
    axes = {0: "batch", 1: "tokens"}
    write(
        TextModel(model, text).eval(),
        {"input_ids": ids, "attention_mask": (ids > 0).long()},
        ["text_embeds"],
        {"input_ids": axes, "attention_mask": axes},
        folder / "text_model.onnx",
    )


def write_data(model: DualEncoder, folder: Path, precisions: Sequence[str]) -> None:
    """Writes config.json, the tokenizer and the preprocessing as transformers.js reads them."""
    assert model.vision is not None
    assert isinstance(model.text, SentenceEncoder)
    save_tokenizer(model.text.model.tokenizer, folder)
    transform = model.vision.transform
    config = {
        "format": FORMAT,
        "kind": DUAL_ENCODER,
        "model_type": "clip",  # transformers.js: CLIPVisionModelWithProjection and its text half
        "embedding_dim": model.config.matryoshka_dims[0],
        "projection_dim": model.config.matryoshka_dims[0],
        "matryoshka_dims": list(model.config.matryoshka_dims),
        "normalisation": "an embedding at dim d is its first d numbers, divided by their Euclidean "
        "length, which counts as 1e-12 if it is less",
        "logit_scale": float(model.logit_scale.detach()),
        "image": transform.as_data(),
        "text": {
            "max_tokens": model.text.max_tokens,
            "tokenizer": TOKENIZER_FILE,
            "steps": [
                f"tokenize with {TOKENIZER_FILE}, its special tokens included",
                f"cut to {model.text.max_tokens} tokens, which include the special ones",
                "attention_mask: 1 for a token, 0 for padding behind it",
            ],
        },
        "graphs": {
            precision: {name: f"onnx/{name}{SUFFIXES[precision]}.onnx" for name in NAMES}
            for precision in precisions
        },
    }
    write_config(folder / CONFIG_FILE, config)
    size = {"height": transform.image_size, "width": transform.image_size}
    crop = transform.fit == "crop"
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge" if crop else "longest_edge": transform.image_size},
        "resample": int(Image.Resampling[transform.resample.upper()]),
        "do_center_crop": crop,
        "crop_size": size,
        "do_pad": not crop,
        "pad_size": size,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(transform.mean),
        "image_std": list(transform.std),
    }
    write_config(folder / "preprocessor_config.json", processor)


SUFFIXES = {"fp32": "", "int8": "_int8"}


def write_config(path: Path, values: dict[str, Any]) -> None:
    """Writes JSON for people and programs."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Writes the files of a tokenizer of transformers, without places of this machine."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        for path in sorted(Path(scratch).iterdir()):
            content = path.read_bytes()
            if path.name == "tokenizer_config.json":
                values = json.loads(content)
                for name in (
                    "name_or_path",
                    "is_local",
                    "local_files_only",
                    "special_tokens_map_file",
                ):
                    values.pop(name, None)
                content = (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()
            (folder / path.name).write_bytes(content)


def compare(
    model: DualEncoder, folder: Path, precisions: Sequence[str], held_out: CaptionedImages
) -> dict[str, Any]:
    """Compares the exported graphs with the model; returns a report per precision.

    Raises:
        ParityError: if a figure is beyond the limits.
    """
    dims = model.config.matryoshka_dims
    images = model.encode_image([open_image(each) for each in held_out.images]).numpy()
    captions = model.encode_text(held_out.captions).numpy()
    expected = recalls(images, captions, held_out.groups, dims)
    reports = {}
    for precision in precisions:
        edge = EdgeDualEncoder(folder, precision=precision)
        found = (
            edge.encode_image([open_image(each) for each in held_out.images]),
            edge.encode_text(held_out.captions),
        )
        again = recalls(*found, held_out.groups, dims)
        both = (np.concatenate([images, captions]), np.concatenate(found))
        reports[precision] = {
            **differences(*both),
            "R@1_change": recall_change(expected, again),
            "R@1": again,
            "R@1_torch": expected,
            "num_images": len(held_out.images),
            "num_captions": len(held_out.captions),
        }
        check_limits(reports[precision], precision)
    return reports
