"""Where training takes a picture's features from: the cache, or the encoder where pictures change."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.images import decode_image, to_rgb
from edge_glass.training.align.augmentation import AugmentationConfig, augment
from edge_glass.training.engine.determinism import generator
from edge_glass.training.features.cache import gather, vision_features


class Pictures(Protocol):
    """A split's pictures, as features."""

    def features(self, rows: Tensor, *, step: int) -> Tensor:
        """Returns (n, P, D) float32 for the named pictures, as they are at a step."""
        ...


class CachedPictures:
    """The features that `encode` wrote, the same at every step."""

    def __init__(self, subset: str, split: str) -> None:
        self.array = vision_features(subset, split)

    def features(self, rows: Tensor, *, step: int) -> Tensor:
        """Returns (n, P, D) float32; `step` changes nothing."""
        return gather(self.array, rows)


class AugmentedPictures:
    """Pictures that are changed at random and encoded at each step.

    Args:
        path: the split's pictures, as `prepare` wrote them.
        encoder: the frozen vision encoder.
        config: how far a picture may change.
        dtype: that of the cache: features are rounded to it, so that with a config that changes
            nothing the numbers are the cache's.
        seed: of the draws, with the step and the picture's row.
    """

    def __init__(
        self,
        path: Path,
        encoder: VisionEncoder,
        config: AugmentationConfig,
        *,
        dtype: str,
        seed: int,
    ) -> None:
        self.bytes = pq.read_table(path, columns=["bytes"], memory_map=True)["bytes"]
        self.encoder, self.config, self.seed = encoder, config, seed
        self.dtype = np.dtype(dtype)

    def features(self, rows: Tensor, *, step: int) -> Tensor:
        """Returns (n, P, D) float32; the changes are a function of (seed, step, row)."""
        images = [
            augment(
                to_rgb(decode_image(self.bytes[row].as_py())),
                self.config,
                generator(self.seed, "augmentation", step, row),
            )
            for row in rows.tolist()
        ]
        with torch.inference_mode():
            pixels = self.encoder.preprocess(images).to(next(self.encoder.parameters()).device)
            features = self.encoder(pixels).cpu().numpy().astype(self.dtype)
        return torch.from_numpy(features).float()
