"""Symmetric InfoNCE of pictures and captions, without false negatives and dropped captions."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from edge_glass.training.align.incremental import incremental_info_nce


def contrastive_loss(
    image: Float[Tensor, "B D"],
    text: Float[Tensor, "B D"],
    logit_scale: Float[Tensor, ""],
    image_ids: Int[Tensor, " B"],
    text_ids: Int[Tensor, " B"],
    keep_text: Bool[Tensor, " B"] | None = None,
    *,
    query_offset: int = 0,
    num_queries: int | None = None,
) -> Float[Tensor, ""]:
    """Mean over the kept rows of both directions' cross entropies, each direction by half.

    Row i of ``image`` belongs to row i of ``text``. Another row with the same picture or the same
    caption is neither positive nor negative: it is left out of row i's softmax. A dropped caption
    is no query and no candidate, and its row's image-to-text term is left out with it; the picture
    itself stays a candidate for the other captions.

    For gradient caching over logical shards, or for several ranks: pass the embeddings of the
    *whole* batch, and a slice of rows that asks. The results of slices that tile the batch add up
    to the whole batch's loss, gradients too.

    Args:
        image: embeddings of all candidates; normalised inside.
        text: embeddings of all candidates; normalised inside.
        logit_scale: logarithm of the inverse temperature. The caller clamps its parameter (at ln
            100).
        image_ids: equal where two rows show one picture (or pictures that are no negatives of each
            other).
        text_ids: equal where two rows have one caption.
        keep_text: False where text dropout took the caption; None keeps all.
        query_offset: first row that asks.
        num_queries: how many rows ask; None for all from ``query_offset`` on.

    Raises:
        ValueError: where shapes do not agree or the slice lies outside of the batch.
    """
    image, text = in_full_precision(image), in_full_precision(text)
    masked, row_weights = candidate_mask(
        image, text, image_ids, text_ids, keep_text, query_offset, num_queries
    )
    with torch.autocast(image.device.type, enabled=False):
        scale = logit_scale.to(image.dtype).exp()
        width = image.shape[1]
        return incremental_info_nce(
            image, text, scale, (width,), (1.0,), masked, row_weights, query_offset
        )


def candidate_mask(
    image: Tensor,
    text: Tensor,
    image_ids: Tensor,
    text_ids: Tensor,
    keep_text: Tensor | None,
    query_offset: int,
    num_queries: int | None,
) -> tuple[Tensor, Tensor]:
    """Check the batch; return the pairs that are no negatives (n, B) and the rows' weights (B,)."""
    if image.ndim != 2 or image.shape != text.shape:
        raise ValueError(
            f"image is {tuple(image.shape)} and text {tuple(text.shape)}; "
            "expected (batch, dim) of both, with equal shapes"
        )
    num_rows = image.shape[0]
    given = {"image_ids": image_ids, "text_ids": text_ids, "keep_text": keep_text}
    for name, value in given.items():
        if value is not None and value.shape != (num_rows,):
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}; expected ({num_rows},), one a row"
            )
    if num_queries is None:
        num_queries = num_rows - query_offset
    if query_offset < 0 or num_queries < 1 or query_offset + num_queries > num_rows:
        raise ValueError(
            f"queries {query_offset} to {query_offset + num_queries} lie outside of "
            f"a batch of {num_rows} rows"
        )
    rows = torch.arange(query_offset, query_offset + num_queries, device=image.device)
    masked = (image_ids[rows, None] == image_ids) | (text_ids[rows, None] == text_ids)  # (n, B)
    masked[rows - query_offset, rows] = False
    keep = (
        torch.ones(num_rows, device=image.device, dtype=torch.bool)
        if keep_text is None
        else keep_text.bool()
    )
    row_weights = keep.to(image.dtype) / keep.sum().clamp_min(1)
    return masked, row_weights


def in_full_precision(embeddings: Tensor) -> Tensor:
    """Return float32 for half precision: a softmax over thousands needs it. float64 stays."""
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()
