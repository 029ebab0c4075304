"""The feature cache: outputs of the frozen encoders as arrays in shards.

There is one folder per split. It holds the array `vision` (M, P, D) of the split's M images and,
for captions, `text` (K, D) with `texts.json`, the K distinct texts in order. `shards.py` describes
the files of an array. `index.json` at the top describes the cache.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from edge_glass.encoders.files import DataError
from edge_glass.training.features.live import LIVE, LiveFeatures, open_live_features
from edge_glass.training.features.sharded_array import ShardedArray
from edge_glass.training.features.shards import REMEDY
from edge_glass.training.features.shared_array import SHARED, SharedArray, open_shared_array
from edge_glass.training.folders import FEATURES, PREPARED

# Beside the caption splits: the texts of the classes of the vision encoder's classifier. No split
# can have this name.
CLASSES = "(classes)"


class Features(Protocol):
    """Rows of features by number: an array in memory, or one in shards."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class FeatureIndex:
    """A description of the cache.

    Attributes:
        vision_width, text_width: numbers per token and per text; no texts have a width of 0.
        grids: rows and columns of patches, by sub-set.
        image_sizes: pixels per side, by sub-set.
        texts_sha256: checksum of the `texts.json` of each caption split, and of `CLASSES` if the
            texts of the vision encoder's classes were encoded.
    """

    vision_encoder: str
    text_encoder: str
    vision_width: int
    text_width: int
    grids: dict[str, tuple[int, int]]
    image_sizes: dict[str, int]
    splits: dict[str, list[str]]
    texts_sha256: dict[str, str]


def read_index(folder: Path = FEATURES) -> FeatureIndex:
    """Reads the description of the cache."""
    path = folder / "index.json"
    if not path.is_file():
        raise DataError(f"{path}: no feature cache there; run `dvc repro encode` first")
    raw = json.loads(path.read_text())
    names = [each.name for each in dataclasses.fields(FeatureIndex)]
    if sorted(raw) != sorted(names):
        raise DataError(
            f"{path}: found {', '.join(raw)}, expected {', '.join(names)}: a different "
            "version wrote this cache; run `dvc repro encode` again"
        )
    raw["grids"] = {subset: (grid[0], grid[1]) for subset, grid in raw["grids"].items()}
    return FeatureIndex(**raw)


def check_encoders(index: FeatureIndex, *, vision: str, text: str) -> None:
    """Checks that the chosen encoders made the cache."""
    for kind, wanted, found, width in (
        ("vision_encoder", vision, index.vision_encoder, index.vision_width),
        ("text_encoder", text, index.text_encoder, index.text_width),
    ):
        if wanted != found:
            raise DataError(
                f"{FEATURES}: {kind} {found} (width {width}) made the feature cache, expected "
                f"{wanted}: run `dvc repro encode` first"
            )


def vision_features(
    subset: str, split: str, folder: Path = FEATURES, *, verify: bool = False
) -> ShardedArray | SharedArray | LiveFeatures:
    """Returns the features of a split's images (M, P, D); rows are read as they are used.

    With `features: live` they are encoded when they are read. `subset` is "captions" or
    "questions". `verify` also checks every byte by the checksums; sizes are always checked.
    """
    if (folder / LIVE).is_file():
        images = folder.parent / PREPARED.name / subset / f"{split}.images.parquet"
        return open_live_features(folder, images, read_index(folder).image_sizes[subset])
    if (folder / subset / split / SHARED).is_file():
        return open_shared_array(folder, f"{subset}/{split}", verify=verify)
    return ShardedArray(folder / subset / split, "vision", verify=verify)


def text_features(
    split: str, folder: Path = FEATURES, *, verify: bool = False
) -> tuple[dict[str, int], Tensor]:
    """Returns (text -> row, features (K, D) float32) of a caption split, or of `CLASSES`."""
    path, index = folder / "captions" / split / "texts.json", read_index(folder)
    data = path.read_bytes() if path.is_file() else b""
    found, expected = hashlib.sha256(data).hexdigest(), index.texts_sha256.get(split)
    if found != expected:
        raise DataError(
            f"{path}: found {len(data)} bytes with SHA-256 {found}, expected {expected}: {REMEDY}"
        )
    texts = json.loads(data)
    array = ShardedArray(path.parent, "text", verify=verify)[:]
    if array.shape != (len(texts), index.text_width) or not np.isfinite(array).all():
        raise DataError(
            f"{path.parent}: found text features of shape {array.shape}, expected ({len(texts)}, "
            f"{index.text_width}) finite numbers: {REMEDY}"
        )
    return {text: row for row, text in enumerate(texts)}, torch.from_numpy(array)


def verify_features(folder: Path = FEATURES) -> tuple[int, int]:
    """Checks every byte of the cache; returns the number of shards and their total bytes."""
    arrays: list[ShardedArray] = []
    index = read_index(folder)
    for subset, splits in index.splits.items():
        for split in splits:
            images = vision_features(subset, split, folder, verify=True)
            if isinstance(images, SharedArray):
                images = images.arrays[0]  # the others are those of captions
            if isinstance(images, ShardedArray):
                arrays.append(images)
    for split in index.texts_sha256:
        text_features(split, folder, verify=True)
        arrays.append(ShardedArray(folder / "captions" / split, "text"))
    sizes = [entry.bytes for array in arrays for entry in array.index.shards]
    return len(sizes), sum(sizes)


def gather(array: Features, rows: Tensor | np.ndarray[Any, Any]) -> Tensor:
    """Returns the rows of these numbers as a float32 tensor (B, P, D) on the CPU."""
    return finite(torch.from_numpy(array[np.asarray(rows)]), rows)


def finite(stored: Tensor, rows: Tensor | np.ndarray[Any, Any]) -> Tensor:
    """Returns features (B, P, D) in float32, on their device.

    Raises:
        DataError: names the first image, by its number in `rows` (B,), with a NaN or infinity.
    """
    features = stored.float()
    # a NaN or infinity makes the sum NaN or infinite, and the sum is ten times cheaper to check
    if not features.sum().isfinite() and not features.isfinite().all():
        bad = int((~torch.isfinite(features).flatten(1).all(dim=1)).nonzero()[0])
        raise DataError(
            f"features of image {int(np.asarray(rows)[bad])} are not finite: "
            "encode again with dtype float32"
        )
    return features


def prepared_rows(subset: str, split: str, folder: Path) -> list[dict[str, Any]]:
    """Returns the rows that `prepare` wrote for a split."""
    path = folder / subset / f"{split}.rows.parquet"
    if not path.is_file():
        found = ", ".join(sorted(each.name for each in (folder / subset).glob("*.rows.parquet")))
        raise DataError(f"{path}: no such split; found {found or 'none'}; run `dvc repro prepare`")
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    if not rows:
        raise DataError(f"{path}: the split is empty")
    return rows
