"""What a search in small codes finds: recall@10 against the bytes that an image's code takes.

A caption searches the split's images as `edge-glass search --dim --precision` does: int8 and 1 bit
choose 20 candidates per wanted image, which are ranked by their full vectors; float32 ranks by its
first numbers alone. Scores are exact (see `retrieval/ranks.py`), so each CPU finds the same images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_glass.fusion.codes import CANDIDATES, PRECISIONS, encode_rows, nearest_rows
from edge_glass.training.evaluation.alignment.embedded_split import EmbeddedSplit
from edge_glass.training.evaluation.retrieval.ranks import Embeddings, unit_rows

TOP = 10  # images that a search returns

Codes = dict[str, dict[str, dict[str, float]]]  # dim -> precision -> figures


def code_recall(split: EmbeddedSplit, dims: Sequence[int]) -> Codes:
    """Returns figures of the search by dim and precision.

    They are `bytes` of one image's code; `R@10`, the share of the captions that find an image of
    their group among the first ten; and `agreement`, the share of the ten nearest full vectors that
    the search finds.
    """
    images, texts = unit_rows(split.image.numpy()), unit_rows(split.text.numpy())
    nearest = _nearest(images, texts)
    image_groups, text_groups = split.image_groups.numpy(), split.text_groups.numpy()
    rows, queries = (each.astype(np.float32) * np.float32(2**-26) for each in (images, texts))
    found: Codes = {}
    for dim in dims:
        found[str(dim)] = {}
        for precision in PRECISIONS:
            codes = encode_rows(rows, dim, precision)
            if precision == "float32":
                parts = (unit_rows(each.numpy()[:, :dim]) for each in (split.image, split.text))
                results = _nearest(*parts)
            else:
                results = np.stack(
                    [
                        _rescored(
                            nearest_rows(codes, query[:dim], precision, TOP * CANDIDATES),
                            images,
                            text,
                        )
                        for query, text in zip(queries, texts, strict=True)
                    ]
                )
            right = image_groups[results] == text_groups[:, None]
            same = [np.isin(*pair).mean() for pair in zip(nearest, results, strict=True)]
            found[str(dim)][precision] = {
                "bytes": codes[0].nbytes,
                "R@10": float(right.any(axis=1).mean()),
                "agreement": float(np.mean(same)),
            }
    return found


def _nearest(images: Embeddings, texts: Embeddings) -> NDArray[np.int64]:
    """Returns the places of the ten images (Q, 10) that are most like each text."""
    wide = images.astype(np.float64)  # products of whole numbers: exact in float64
    return np.stack([_first(wide @ text.astype(np.float64)) for text in texts])


def _rescored(
    candidates: NDArray[np.int64], images: Embeddings, text: Embeddings
) -> NDArray[np.int64]:
    candidates = np.sort(candidates)
    scores = images[candidates].astype(np.float64) @ text.astype(np.float64)
    best: NDArray[np.int64] = candidates[_first(scores)]
    return best


def _first(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the places of the ten largest scores; of equal ones the first counts."""
    places: NDArray[np.int64] = np.argsort(-scores, kind="stable")[:TOP]
    return places
