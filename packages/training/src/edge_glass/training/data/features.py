"""The feature cache: what the frozen encoders said, as memory-mapped arrays.

A folder a split holds `vision.npy` (M, P, D) for its M pictures and, for captions, `text.npy`
(K, D) with `texts.json`, the K distinct texts in order. `index.json` at the top describes all.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from edge_glass.training.data.error import DataError
from edge_glass.training.folders import FEATURES


@dataclass(frozen=True, kw_only=True)
class FeatureIndex:
    """What is in the cache: widths, grids (rows, columns) and the encoders that made it."""

    vision_encoder: str
    text_encoder: str
    vision_width: int
    text_width: int
    grids: dict[str, tuple[int, int]]
    image_sizes: dict[str, int]
    splits: dict[str, list[str]]


def read_index(folder: Path = FEATURES) -> FeatureIndex:
    """Reads the cache's description.

    Raises:
        DataError: where there is no cache.
    """
    path = folder / "index.json"
    if not path.is_file():
        raise DataError(f"{path}: no feature cache there; run `dvc repro encode` first")
    raw = json.loads(path.read_text())
    names = [each.name for each in dataclasses.fields(FeatureIndex)]
    if sorted(raw) != sorted(names):
        raise DataError(
            f"{path}: found {', '.join(raw)}, expected {', '.join(names)}: the cache is another "
            "version's; run `dvc repro encode` again"
        )
    raw["grids"] = {subset: (grid[0], grid[1]) for subset, grid in raw["grids"].items()}
    return FeatureIndex(**raw)


def check_encoders(index: FeatureIndex, *, vision: str, text: str) -> None:
    """Checks that the cache is of the encoders that are asked for.

    Raises:
        DataError: where it is of others.
    """
    for kind, wanted, found, width in (
        ("vision_encoder", vision, index.vision_encoder, index.vision_width),
        ("text_encoder", text, index.text_encoder, index.text_width),
    ):
        if wanted != found:
            raise DataError(
                f"{FEATURES}: the feature cache is of {kind} {found} (width {width}), expected "
                f"{wanted}: run `dvc repro encode` first"
            )


def vision_features(subset: str, split: str, folder: Path = FEATURES) -> np.ndarray[Any, Any]:
    """Returns the pictures' features (M, P, D), memory-mapped, read only.

    Raises:
        DataError: where the split is not in the cache.
    """
    path = folder / subset / split / "vision.npy"
    if not path.is_file():
        raise DataError(f"{path}: split {split!r} of {subset} is not in the feature cache")
    array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def text_features(split: str, folder: Path = FEATURES) -> tuple[dict[str, int], Tensor]:
    """Returns (text -> row, features (K, D) float32) of a caption split."""
    texts = json.loads((folder / "captions" / split / "texts.json").read_text())
    path = folder / "captions" / split / "text.npy"
    array = np.load(path, allow_pickle=False)
    width = read_index(folder).text_width
    if array.shape != (len(texts), width) or not np.isfinite(array).all():
        raise DataError(
            f"{path}: found text features of shape {array.shape}, expected ({len(texts)}, {width}) "
            "finite numbers: run `dvc repro encode` again"
        )
    return {text: row for row, text in enumerate(texts)}, torch.from_numpy(array)


def gather(array: np.ndarray[Any, Any], rows: Tensor | np.ndarray[Any, Any]) -> Tensor:
    """Returns the named rows as a float32 tensor (B, P, D).

    Raises:
        DataError: where a feature is not finite.
    """
    features = torch.from_numpy(array[np.asarray(rows)]).float()
    if not torch.isfinite(features).all():
        bad = int((~torch.isfinite(features).flatten(1).all(dim=1)).nonzero()[0])
        raise DataError(
            f"features of picture {int(np.asarray(rows)[bad])} are not finite: "
            "encode again with dtype float32"
        )
    return features


def prepared_rows(subset: str, split: str, folder: Path) -> list[dict[str, Any]]:
    """Returns the rows that `prepare` wrote for a split.

    Raises:
        DataError: where the split is missing or empty.
    """
    path = folder / subset / f"{split}.rows.parquet"
    if not path.is_file():
        found = ", ".join(sorted(each.name for each in (folder / subset).glob("*.rows.parquet")))
        raise DataError(f"{path}: no such split; found {found or 'none'}; run `dvc repro prepare`")
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    if not rows:
        raise DataError(f"{path}: the split is empty")
    return rows
