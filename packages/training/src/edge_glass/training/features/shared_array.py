"""Features of questions whose images have captions too: each image is encoded and stored once.

Beside the array of a split's own images, `shared.npy` holds for each image (M, 2): the number of an
array, 0 for the own one, and the row in it. `shared.json` names the other arrays. What is unusual:
the last bits of a feature depend on the size of the batch in which it was encoded, see `live.py`.
So only images of full batches are shared, and the own ones are completed to full batches: the
numbers are those of a cache without sharing.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from edge_glass.encoders.files import DataError, write_atomic, write_json
from edge_glass.training.features.sharded_array import ShardedArray
from edge_glass.training.features.shards import REMEDY

SHARED = "shared.json"
Places = NDArray[np.int64]


class SharedArray:
    """Features (M, P, D) of images that lie in several arrays; indexing returns copies.

    Args:
        arrays: the own array and the others.
        places: (M, 2) for each image the number of its array, and its row there.
    """

    def __init__(self, arrays: Sequence[ShardedArray], places: Places) -> None:
        self.arrays, self.places = list(arrays), places

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.arrays[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.arrays[0].dtype

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        places = self.places[rows]
        flat = places.reshape(-1, 2)
        found = np.empty((len(flat), *self.shape[1:]), self.dtype)
        for number in np.unique(flat[:, 0]).tolist():
            here = flat[:, 0] == number
            found[here] = self.arrays[number][flat[here, 1]]
        return found.reshape(*places.shape[:-1], *self.shape[1:])


def find_places(images: Path, others: Mapping[str, Path], batch_size: int) -> Places | None:
    """Finds the images of a prepared file that are encoded for other files already.

    Returns (M, 2): for each image the number of an array, 0 for the file's own one and 1, 2, ...
    for those of `others`, and its row there. Returns None if no image is shared.

    Args:
        images: the file. Its own images are encoded in the order of their rows.
        others: prepared files of images that are encoded to the same size, by their arrays' names.
        batch_size: of the encoder.
    """
    known: dict[str, tuple[int, int]] = {}
    for number, path in enumerate(others.values(), start=1):
        identities = _identities(path)
        for row in range(len(identities) - len(identities) % batch_size):
            known.setdefault(identities[row], (number, row))
    identities = _identities(images)
    full = len(identities) - len(identities) % batch_size
    places = np.zeros((len(identities), 2), np.int64)
    for row, identity in enumerate(identities[:full]):
        places[row] = known.get(identity, (0, 0))
    shared = np.flatnonzero(places[:, 0])
    num_own = full - len(shared)
    # some shared images are encoded again: they complete the last full batch of the own ones
    again = -num_own % batch_size
    if len(shared) == len(identities):  # an array can't be empty
        again = batch_size
    places[shared[:again]] = 0
    is_own = places[:, 0] == 0
    places[is_own, 1] = np.arange(is_own.sum())
    return None if is_own.all() else places


def _identities(path: Path) -> list[str]:
    found: list[str] = pq.read_table(path, columns=["image_id"])["image_id"].to_pylist()
    return found


def own_rows(places: Places) -> list[int]:
    """Returns the rows of a file whose images are in the own array."""
    rows: list[int] = np.flatnonzero(places[:, 0] == 0).tolist()
    return rows


def write_places(folder: Path, names: Sequence[str], places: Places) -> None:
    """Writes where features are; `names` are those of the other arrays, such as captions/train."""
    buffer = io.BytesIO()
    np.save(buffer, places, allow_pickle=False)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    write_atomic(folder / "shared.npy", buffer.getvalue())
    write_json(folder / SHARED, {"arrays": list(names), "sha256": digest})


def open_shared_array(root: Path, name: str, *, verify: bool = False) -> SharedArray:
    """Opens the features of a split, `name` such as questions/train, below the cache `root`."""
    folder = root / name
    try:
        described = json.loads((folder / SHARED).read_text())
        names, expected = list(described["arrays"]), described["sha256"]
        data = (folder / "shared.npy").read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / SHARED}: can't be read ({error!r}): {REMEDY}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise DataError(
            f"{folder / 'shared.npy'}: found SHA-256 {found}, expected {expected}: {REMEDY}"
        )
    arrays = [ShardedArray(folder, "vision", verify=verify)]
    arrays += [ShardedArray(root / each, "vision") for each in names]
    return SharedArray(arrays, np.load(io.BytesIO(data), allow_pickle=False))
