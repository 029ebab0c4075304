"""The source of image features in training: the cache, or the encoder at each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
from edge_glass.training.features.cache import Features, finite
from edge_glass.training.features.live import LiveFeatures
from edge_glass.training.features.read_ahead import read_ahead
from edge_glass.training.runtime.executor import ordered_map


class ImageFeatures(Protocol):
    """The features of a split's images."""

    def at(self, rows: Tensor, *, step: int) -> Tensor:
        """Returns (n, P, D) float32: the features of these images at a step."""
        ...


Batches = Callable[[int], Iterator[list[int]]]
"""The images of each microbatch of this process, from a step on; in a step no two are equal."""


class CachedFeatures:
    """The features that `encode` wrote, the same at every step.

    For a GPU, threads read the next microbatches ahead: a step of 512 images of CLIP-L/336 is
    0.6 GB, and to read and copy it takes as long as to compute it.

    Args:
        device: features are copied there in the type of the cache.
        keep: whether a second call in a step finds what the first one has copied. It needs the
            memory of a whole batch on the device. A GPU always keeps them.
        batches: what is read ahead.
        num_workers: threads that read ahead; the bytes are the same.
    """

    def __init__(
        self,
        array: Features,
        device: torch.device,
        *,
        keep: bool,
        batches: Batches,
        num_workers: int,
    ) -> None:
        self.array, self.device, self.keep = array, device, keep or device.type == "cuda"
        self._batches, self._num_workers = batches, num_workers
        self._ahead: Iterator[Tensor] | None = None
        self._step = -1
        self._kept: dict[tuple[int, ...], Tensor] = {}

    def at(self, rows: Tensor, *, step: int) -> Tensor:
        """Returns (n, P, D) float32, the same at every step."""
        if step != self._step:
            self._step, self._kept = step, {}
        key = tuple(rows.tolist())
        if key in self._kept:
            return self._kept[key].float()
        if self.device.type == "cuda":
            if self._ahead is None:
                self._ahead = self._read_ahead(step)
            stored = next(self._ahead).to(self.device, non_blocking=True)
        else:
            stored = torch.from_numpy(self.array[rows.numpy()])
        if self.keep:
            self._kept[key] = stored
        return finite(stored, rows)

    def _read_ahead(self, step: int) -> Iterator[Tensor]:
        number = max(1, self._num_workers)
        with ThreadPoolExecutor(
            number, initializer=torch.cuda.set_device, initargs=(self.device,)
        ) as pool:
            yield from ordered_map(self._pinned, self._batches(step), pool, in_flight=number)

    def _pinned(self, rows: list[int]) -> Tensor:
        return torch.from_numpy(self.array[np.array(rows)]).pin_memory()


class LiveTrainingFeatures:
    """Images that are encoded when their step comes; workers decode them ahead.

    Args:
        batches: what is encoded.
        num_workers: processes that decode; the bytes are the same.
    """

    def __init__(
        self,
        features: LiveFeatures,
        batches: Batches,
        num_workers: int,
    ) -> None:
        self._features, self._batches, self._num_workers = features, batches, num_workers
        self._encoded: Iterator[Tensor] | None = None
        self._step = -1
        self._kept: dict[tuple[int, ...], Tensor] = {}

    def at(self, rows: Tensor, *, step: int) -> Tensor:
        """Returns (n, P, D) float32; a second call in a step encodes nothing again."""
        if self._encoded is None:
            self._encoded = read_ahead([self._features], self._batches(step), self._num_workers)
        if step != self._step:
            self._step, self._kept = step, {}
        key = tuple(rows.tolist())
        if key not in self._kept:
            self._kept[key] = next(self._encoded)
        return self._kept[key]


class AugmentedFeatures:
    """Images that are changed at random and encoded at each step.

    Args:
        path: the split's images, as `prepare` wrote them.
        dtype: features are rounded to this type of the cache, so that a config that changes nothing
            gives the numbers of the cache.
        seed: of the draws, together with the step and the image's row.
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

    def at(self, rows: Tensor, *, step: int) -> Tensor:
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
            pixels = self.encoder.preprocess(images)
            features = self.encoder.encode(pixels).cpu().numpy().astype(self.dtype)
        return torch.from_numpy(features).float()
