"""The format `immich`: a pair of models in the layout of Immich's machine-learning service.

    edge-glass export immich models/align OUT

OUT/config.json                                   dim, image size and context length
OUT/visual/model.onnx, preprocess_cfg.json        image (batch, 3, H, W) -> image_embeds (batch, E)
OUT/textual/model.onnx, tokenizer.json ...        text (batch, T), padded ids -> text_embeds
OUT/parity.json                                   comparison with the model in torch

Source: immich-app/immich, machine-learning/immich_ml/models/clip/{visual,textual}.py and
models/transforms.py. The service resizes the shorter side and cuts the centre; it has no bars. It
pads each text to the context length and passes no mask, so the graph makes the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn

from edge_glass.encoders.checkpoint import load_checkpoint
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import MODEL as DUAL_ENCODER
from edge_glass.encoders.files import rounded, write_json
from edge_glass.encoders.towers.sentence import SentenceEncoder
from edge_glass.fusion.edge.folder import TOKENIZER_FILE, Graph
from edge_glass.fusion.export.held_out import CaptionedImages, captioned_images, open_image
from edge_glass.fusion.export.onnx_dual_encoder import (
    TextModel,
    VisionModel,
    save_tokenizer,
    text_encoder,
    write_config,
)
from edge_glass.fusion.export.onnx_graph import quantize_weights, write_graph
from edge_glass.fusion.export.parity import (
    LIMITS,
    check_limits,
    differences,
    recall_change,
    recalls,
)

VISUAL, TEXTUAL, GRAPH = "visual", "textual", "model.onnx"
Embeddings = NDArray[np.float32]


class PaddedTextModel(nn.Module):
    """Token ids that are padded at the end to normalised text embeddings."""

    def __init__(self, model: TextModel, pad_id: int) -> None:
        super().__init__()
        self.model = model
        self.pad_id = pad_id

    def forward(self, text: Tensor) -> Tensor:
        embeddings: Tensor = self.model(text.long(), (text != self.pad_id).long())
        return embeddings


def write_folder(model: Path, folder: Path, *, data: Path, precisions: Sequence[str]) -> None:
    """Writes both graphs with their configs, and compares them with the model in torch.

    Args:
        model: folder of a dual encoder.
        folder: an empty folder.
        data: folder of the prepared data, whose validation splits the graphs are compared on.
        precisions: `fp32` or `int8`: the layout has one graph of each kind.

    Raises:
        ParityError: if a graph differs by more than the limits.
        ValueError: if the folder holds no dual encoder, or one that the layout can't express.
    """
    if len(precisions) != 1 or precisions[0] not in LIMITS:
        raise ValueError(
            f"precision is {', '.join(precisions)}, expected fp32 or int8: Immich's layout has one "
            "graph of each kind"
        )
    values, _ = load_checkpoint(model)
    if values.get("model") != DUAL_ENCODER:
        raise ValueError(
            f"{model} holds no dual encoder, which is what Immich searches with; give a folder "
            "such as models/align"
        )
    held_out = captioned_images(data)
    encoder = DualEncoder.from_pretrained(model)
    write_graphs(encoder, folder, precisions[0])
    write_configs(encoder, folder)
    report = compare(encoder, folder, precisions[0], held_out)
    limits = {precisions[0]: LIMITS[precisions[0]]}
    write_json(folder / "parity.json", rounded({precisions[0]: report, "limits": limits}, 7))


def write_graphs(model: DualEncoder, folder: Path, precision: str) -> None:
    """Writes both graphs in one precision."""
    assert model.vision is not None
    text = text_encoder(model)
    size = model.vision.image_size
    write_graph(
        VisionModel(model).eval(),
        {"image": torch.zeros(2, 3, size, size)},
        ["image_embeds"],
        {"image": {0: "batch"}},
        folder / VISUAL / GRAPH,
    )
    pad_id = int(text.model.tokenizer.pad_token_id)
    ids = torch.full((2, 5), pad_id, dtype=torch.int32)
    ids[0], ids[1, :3] = torch.arange(1, 6), torch.arange(1, 4)
    write_graph(
        PaddedTextModel(TextModel(model, text), pad_id).eval(),
        {"text": ids},
        ["text_embeds"],
        {"text": {0: "batch", 1: "tokens"}},
        folder / TEXTUAL / GRAPH,
    )
    if precision == "int8":
        for name in (VISUAL, TEXTUAL):
            quantize_weights(folder / name / GRAPH, folder / name / GRAPH)


def write_configs(model: DualEncoder, folder: Path) -> None:
    """Writes what the service reads beside the graphs."""
    assert model.vision is not None
    assert isinstance(model.text, SentenceEncoder)
    transform, dim = model.vision.transform, model.config.matryoshka_dims[0]
    save_tokenizer(model.text.model.tokenizer, folder / TEXTUAL)
    preprocessing = {
        "size": [transform.image_size, transform.image_size],
        "mode": "RGB",
        "mean": list(transform.mean),
        "std": list(transform.std),
        "interpolation": transform.resample,
        "resize_mode": "shortest",
        "fill_color": 0,
    }
    write_config(folder / VISUAL / "preprocess_cfg.json", preprocessing)
    config = {
        "embed_dim": dim,
        "vision_cfg": {"image_size": transform.image_size},
        "text_cfg": {"context_length": model.text.max_tokens},
    }
    write_config(folder / "config.json", config)


def compare(
    model: DualEncoder, folder: Path, precision: str, held_out: CaptionedImages
) -> dict[str, Any]:
    """Compares the graphs with the model.

    Texts are tokenised as in the service. `R@1` and the differences are of the training's pixels,
    `R@1_centre` is of the pixels that the service makes.

    Raises:
        ParityError: if a figure is beyond the limits.
    """
    assert model.vision is not None
    transform, dims = model.vision.transform, model.config.matryoshka_dims
    images = [open_image(each) for each in held_out.images]
    expected = (model.encode_image(images).numpy(), model.encode_text(held_out.captions).numpy())
    visual, textual = Graph(folder / VISUAL / GRAPH), Graph(folder / TEXTUAL / GRAPH)
    tokenizer = padded_tokenizer(folder / TEXTUAL, model.text)

    def embed(pixels: NDArray[np.float32]) -> Embeddings:
        embedding: Embeddings = visual({"image": pixels[None]})["image_embeds"]
        return embedding

    found = (
        np.concatenate([embed(transform.pixels(each)) for each in images]),
        np.concatenate(
            [
                textual({"text": np.array([tokenizer.encode(text).ids], np.int32)})["text_embeds"]
                for text in held_out.captions
            ]
        ),
    )
    centre = np.concatenate([embed(transform.pixels(centre_of(each))) for each in images])
    before = recalls(*expected, held_out.groups, dims)
    after = recalls(*found, held_out.groups, dims)
    report = {
        **differences(np.concatenate(expected), np.concatenate(found)),
        "R@1_change": recall_change(before, after),
        "R@1": after,
        "R@1_torch": before,
        "R@1_centre": recalls(centre, found[1], held_out.groups, dims),
        "num_images": len(images),
        "num_captions": len(held_out.captions),
    }
    check_limits(report, precision)
    return report


def padded_tokenizer(folder: Path, encoder: Any) -> Tokenizer:
    """Loads the written tokenizer as the service does: padded and cut to the context length."""
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    pad_token = encoder.model.tokenizer.pad_token
    tokenizer.enable_padding(
        length=encoder.max_tokens, pad_token=pad_token, pad_id=tokenizer.token_to_id(pad_token)
    )
    tokenizer.enable_truncation(encoder.max_tokens)
    return tokenizer


def centre_of(image: Image.Image) -> Image.Image:
    """Returns the largest central square, which is what the service resizes, up to rounding."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))
