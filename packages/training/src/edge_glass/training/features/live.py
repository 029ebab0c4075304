"""Features that are computed when they are read: images from Parquet through the frozen encoder.

With `features: live` the cache holds `live.json` in place of the features of images. It has all
that the numbers depend on, so that they are those that `encode` would have stored. What is unusual:
the last bits of an image's features depend on the size of its batch, but not on its place in it or
on the other images. So on a CPU each batch is filled with copies to the size that it has in
`encode`, which costs time there; `test_live.py` compares the bits.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.components import Component, component, validate
from edge_glass.encoders.files import DataError, write_json
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.training.features.encoding import FrozenEncoder, open_vision_encoder
from edge_glass.training.features.shards import REMEDY
from edge_glass.training.parquet.pages import PlainColumn, open_plain_column
from edge_glass.training.parquet.row_groups import RowGroups, open_row_groups
from edge_glass.training.parquet.row_reader import RowReader

LIVE = "live.json"
ROWS_AT_A_TIME = 8  # of a row group: reading stops after the last row that is needed


@dataclass(frozen=True, kw_only=True)
class LiveConfig:
    """The content of `live.json`, apart from the encoder's name and options.

    Attributes:
        device, num_threads, reproducibility: as in params.yaml.
        batch_size, dtype, pool: as in `EncodeConfig`.
    """

    device: str
    num_threads: int
    reproducibility: str
    batch_size: int
    dtype: str
    pool: str | int

    def save(self, folder: Path, encoder: Component) -> None:
        """Writes `live.json` into a cache."""
        write_json(folder / LIVE, {"encoder": encoder.saved(), **dataclasses.asdict(self)})


def open_live_features(folder: Path, images: Path, image_size: int) -> LiveFeatures:
    """Opens the features of a prepared file of images, by the `live.json` of a cache."""
    path = folder / LIVE
    try:
        raw = json.loads(path.read_text())
        encoder = raw.pop("encoder")
        name, options = encoder["name"], encoder["options"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: does not describe live features ({error!r}): {REMEDY}") from error
    config = validate(LiveConfig, raw, where=str(path))
    return LiveFeatures(
        images,
        FrozenEncoder(
            component=Component(
                name=name, config=component("vision_encoder", name, options, where=str(path))
            ),
            device=config.device,
            num_threads=config.num_threads,
            reproducibility=config.reproducibility,
            start="live",
            image_size=image_size,
            pool=config.pool,  # type: ignore[arg-type]
        ),
        config,
    )


class PixelReader:
    """Prepared images as input of the encoder, without the encoder; can be sent to a worker."""

    def __init__(self, images: RowGroups, transform: ImageTransform) -> None:
        self.images, self.transform = images, transform
        self._reader: RowReader | None = None
        self._column: PlainColumn | None = None

    def __call__(self, rows: Sequence[int]) -> Tensor:
        """Returns the pixels (n, 3, H, W) of the images of these numbers."""
        found = self._bytes(sorted(set(rows)))
        pixels = {row: self.transform(self._image(row, data)) for row, data in found.items()}
        return torch.stack([pixels[row] for row in rows])

    def __getstate__(self) -> dict[str, Any]:
        # open files belong to one process
        return {**self.__dict__, "_reader": None, "_column": None}

    def _bytes(self, rows: Sequence[int]) -> dict[int, bytes]:
        if self._reader is None:
            self._reader = RowReader(self.images, ["bytes"], read_rows=ROWS_AT_A_TIME)
            self._column = open_plain_column(self.images.path(0), "bytes")  # of one prepared file
        numbers = np.asarray(rows, np.int64)
        groups = np.searchsorted(self.images.starts, numbers, side="right") - 1
        found: dict[int, bytes] = {}
        if self._column is not None:
            for number, group in zip(numbers.tolist(), groups.tolist(), strict=True):
                row = number - int(self.images.starts[group])
                found[number] = self._column.value(int(self.images.group[group]), row)
            return found
        for group in np.unique(groups).tolist():
            here = numbers[groups == group]
            read = self._reader.read(group, here - self.images.starts[group])
            # the numbers come first: `zip` then asks for no row after the last one
            for number, row in zip(here.tolist(), read, strict=False):
                found[number] = row["bytes"]
        return found

    def _image(self, row: int, data: bytes) -> Any:
        try:
            return to_rgb(decode_image(data))
        except BadImageError as error:
            path, place = self.images.locate(row)
            raise DataError(
                f"{path}, row {place}: {error}; `prepare` could use it, so this machine lacks a "
                "plug-in or has a different version of Pillow: install it, or run `prepare` here"
            ) from None


class LiveFeatures:
    """The features of a file of images (M, P, D), indexed like the cached array.

    Attributes:
        images: the row groups of the file.
        dtype: to which features are rounded.
    """

    def __init__(self, images: Path, encoder: FrozenEncoder, config: LiveConfig) -> None:
        self.images, self.dtype = open_row_groups(images), np.dtype(config.dtype)
        self._frozen, self._batch_size = encoder, config.batch_size

    @property
    def encoder(self) -> VisionEncoder:
        """The frozen encoder, built once per process."""
        with torch.random.fork_rng(devices=[]):  # a new module draws weights before it loads some
            return open_vision_encoder(self._frozen)

    @property
    def shape(self) -> tuple[int, int, int]:
        rows, columns = self.encoder.grid
        return len(self), rows * columns, self.encoder.width

    def __len__(self) -> int:
        return self.images.num_rows

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        numbers = np.asarray(rows, np.int64)
        flat = np.where(numbers < 0, numbers + len(self), numbers).reshape(-1).tolist()
        found = np.empty((len(flat), *self.shape[1:]), self.dtype)
        reader = self.reader()
        for first in range(0, len(flat), self._batch_size):
            part = flat[first : first + self._batch_size]
            found[first : first + len(part)] = self.encode(reader(part), part).cpu().numpy()
        return found.reshape(*numbers.shape, *found.shape[1:])

    def reader(self) -> PixelReader:
        """Returns a reader of the images' pixels."""
        return PixelReader(self.images, self.encoder.transform)

    def encode(self, pixels: Tensor, rows: Sequence[int]) -> Tensor:
        """Returns the features (n, P, D) of images of these numbers, rounded, on the device.

        Raises:
            DataError: if a feature does not fit into the type.
        """
        device = next(self.encoder.parameters()).device
        dtype = torch.from_numpy(np.empty(0, self.dtype)).dtype
        found = torch.empty(len(rows), *self.shape[1:], dtype=dtype, device=device)
        for size, places in self._groups(rows):
            # on a CPU, copies fill the batch: a batch of a different size may get other kernels
            number = size if device.type == "cpu" else len(places)
            filled = list(islice(cycle(places), number))
            batch = pixels if filled == list(range(len(pixels))) else pixels[filled]
            with torch.inference_mode():
                features = self.encoder.encode(batch)[: len(places)]
            found[places] = features.to(dtype)
        if not found.sum(dtype=torch.float32).isfinite() and not found.isfinite().all():
            bad = int((~found.isfinite().flatten(1).all(dim=1)).nonzero()[0])
            path, place = self.images.locate(rows[bad])
            raise DataError(f"{path}, row {place}: features are not finite: set dtype float32")
        return found

    def _groups(self, rows: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Yields the size of a batch of `encode`, and places in `rows` whose images had it."""
        size, rest = self._batch_size, len(self) % self._batch_size
        tail = [place for place, row in enumerate(rows) if row >= len(self) - rest]
        full = [place for place, row in enumerate(rows) if row < len(self) - rest]
        for number, places in ((size, full), (rest, tail)):
            for first in range(0, len(places), max(1, number)):
                yield number, places[first : first + number]
