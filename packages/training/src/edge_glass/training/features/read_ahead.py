"""Live features in the order of training: workers read and decode images, this process encodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edge_glass.encoders.files import DataError
from edge_glass.training.features.live import LiveFeatures, PixelReader

Part = tuple[int, list[int], list[int]]  # a source, places in the batch, numbers in the source


class _Pixels(Dataset[tuple[list[Part], list[Tensor] | DataError]]):
    """The pixels of the images of one batch: a tensor (n, 3, H, W) per source, or an error."""

    def __init__(self, readers: list[PixelReader]) -> None:
        self.readers = readers

    def __getitem__(self, parts: list[Part]) -> tuple[list[Part], list[Tensor] | DataError]:
        try:
            return parts, [self.readers[source](rows) for source, _, rows in parts]
        except DataError as error:  # raised in a worker, it would be printed with its traceback
            return parts, error


def read_ahead(
    sources: Sequence[LiveFeatures], batches: Iterable[list[int]], num_workers: int
) -> Iterator[Tensor]:
    """Yields the features (n, P, D) float32 of each batch, on the encoder's device.

    Args:
        sources: files of images; the numbers of the second follow those of the first.
        batches: the numbers of the images of each batch.
        num_workers: processes that read, decode and transform; 0 does this here. The bytes are the
            same.

    Raises:
        DataError: names an image that can't be read.
    """
    starts = [0]
    for source in sources:
        starts.append(starts[-1] + len(source))

    def parts(batch: list[int]) -> list[Part]:
        found = []
        for number, (first, stop) in enumerate(pairwise(starts)):
            places = [place for place, row in enumerate(batch) if first <= row < stop]
            if places:
                found.append((number, places, [batch[place] - first for place in places]))
        return found

    loader: DataLoader[tuple[list[Part], list[Tensor] | DataError]] = DataLoader(
        _Pixels([source.reader() for source in sources]),
        sampler=map(parts, batches),
        batch_size=None,
        num_workers=num_workers,
        generator=torch.Generator(),  # a loader draws a seed, and must not draw it from the noise
    )
    for found, pixels in loader:
        if isinstance(pixels, DataError):
            raise pixels
        encoded = [
            (places, sources[source].encode(images, rows))
            for (source, places, rows), images in zip(found, pixels, strict=True)
        ]
        first = encoded[0][1]
        size = sum(len(places) for places, _ in encoded)
        features = first.new_empty((size, *first.shape[1:]), dtype=torch.float32)
        for places, values in encoded:
            features[places] = values.float()
        yield features
