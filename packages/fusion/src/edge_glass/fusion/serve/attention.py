"""Attention maps of an image, as the page draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from edge_glass.encoders.towers.square import Fit, image_box
from edge_glass.fusion.search.embedder import Embedder
from edge_glass.fusion.serve.answerer import Answerer, TorchAnswerer

Weights = list[list[float]]
MAX_MAPS = 40
DECIMALS = 4


def pooling_attention(embedder: Embedder, image: Image.Image) -> dict[str, Any] | None:
    """Returns what the pooling of a dual encoder takes of each patch.

    It is None if the model is an exported one, or its pooling has no attention.
    """
    from edge_glass.fusion.search.torch_embedder import TorchEmbedder

    if not isinstance(embedder, TorchEmbedder):
        return None
    embedder.prepare_images()
    weights = embedder.model.image_attention(image)
    vision = embedder.model.vision
    if weights is None or vision is None:
        return None
    rows: Weights = weights.tolist()
    maps = [("Mean", weights.mean(dim=0).tolist())]
    if len(rows) > 1:
        maps += [(f"Query {number}", row) for number, row in enumerate(rows, start=1)]
    source = "Pooling of the dual encoder"
    return _drawn(source, vision.grid, vision.transform.fit, image, maps)


def answer_attention(
    answerer: Answerer,
    image: Image.Image,
    question: str,
    answer: Sequence[int],
    history: Sequence[str] = (),
) -> dict[str, Any] | None:
    """Returns what the words of a question and of its answer take of each patch.

    Of a fusion that attends, these are its weights. Otherwise they are those of the decoder, for
    the answer's words. It is None if the model is an exported one, or neither attends.
    """
    if not isinstance(answerer, TorchAnswerer):
        return None
    from edge_glass.fusion.attention_map import decoder_attention, fusion_attention

    model = answerer.model
    encoder = model.vision_encoder
    assert encoder is not None  # a served model has its encoder
    features = model.encode([image])
    asked: list[int] = model.tokenizer(question, add_special_tokens=False)["input_ids"]
    source = "Fusion of the model that answers"
    found = fusion_attention(model, features, [*asked, *answer])
    if found is None:
        source = "Decoder of the model that answers"
        found = decoder_attention(model, features, question, answer, history)
    if found is None:
        return None
    texts = [answerer.decoded([each]).strip() for each in found.ids]
    words = [each for each in zip(texts, found.weights.tolist(), strict=True) if each[0]]
    return _drawn(source, encoder.grid, encoder.transform.fit, image, words)


def _drawn(
    source: str,
    grid: tuple[int, int],
    fit: Fit,
    image: Image.Image,
    maps: Sequence[tuple[str, list[float]]],
) -> dict[str, Any]:
    """Returns the JSON: the place of the image in the square, and one list of shares per map."""
    return {
        "source": source,
        "grid": list(grid),
        "box": list(image_box(image.size, fit)),
        "maps": [
            {"label": label, "weights": [round(each, DECIMALS) for each in weights]}
            for label, weights in maps[:MAX_MAPS]
        ],
    }
