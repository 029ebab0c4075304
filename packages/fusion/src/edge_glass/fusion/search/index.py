"""The index of a folder of images: one embedding per image, kept on the disk.

An image's score has the same bits alone and in a folder of a hundred thousand, because each row is
summed alone and in a fixed order. A matrix product would not keep that order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_glass.encoders.checkpoint import (
    TENSORS_FILE,
    CheckpointError,
    load_arrays,
    save_checkpoint,
)
from edge_glass.fusion.codes import encode_rows, parse_name
from edge_glass.fusion.search.files import FileStamp, known_stamps

KIND = "edge-glass-image-index/"
FORMAT = KIND + "3"  # 2: colour profiles were ignored
FORMER_KIND = "edge-glass-picture-index/"  # format 1; such an index is built again

_BLOCK = 8192  # rows scored at once: 32 MB at 512 dims

Vector = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class IndexedImage:
    """An image file of an index: its stamp, and why it can't be used, if it can't."""

    stamp: FileStamp
    fault: str | None = None


@dataclass(kw_only=True)
class ImageIndex:
    """Embeddings of the images in a folder.

    Attributes:
        model: stamp of the model that encoded them, see `model_stamp`.
        images: by path in the folder; those with a fault have no embedding.
        vectors: normalised embeddings at the full width, by content (sha256), so that a file that
            was moved or copied needs no encoding.
        codes: small copies of the vectors for quick searches, by name, see `codes.py`; `save`
            computes them again, because a changed index has other rows.
    """

    model: dict[str, Any]
    images: dict[str, IndexedImage] = field(default_factory=dict)
    vectors: dict[str, Vector] = field(default_factory=dict)
    codes: dict[str, NDArray[Any]] = field(default_factory=dict)

    def paths(self) -> list[str]:
        """Returns the paths of the images that have an embedding, in order."""
        return sorted(path for path, each in self.images.items() if each.fault is None)

    def faults(self) -> dict[str, str]:
        """Returns the faults of the images that have no embedding, by path."""
        return {path: each.fault for path, each in sorted(self.images.items()) if each.fault}

    def scores(
        self, query: Vector, dim: int | None = None, among: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Returns each image's cosine with a query, in the order of `paths`.

        The query is a normalised embedding (E,) at the full width; only its first `dim` numbers are
        compared, or all if None. `among` are places in `paths`; the others are not compared.
        """
        target = query[:dim].astype(np.float64)
        square = np.square(target).sum()
        rows = self.rows(among)
        scores = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK, :dim].astype(np.float64)
            # The root of the product, not the product of roots: an image equals itself exactly.
            lengths = np.sqrt(np.square(block).sum(axis=1) * square)
            dots = (block * target).sum(axis=1)
            scores[start : start + _BLOCK] = dots / np.where(lengths == 0, 1.0, lengths)
        return scores

    def save(self, folder: Path) -> None:
        """Writes the index; equal contents give equal bytes, a kill leaves the old or the new.

        Raises:
            OSError: if it can't be written.
        """
        images = {
            _stored(path): {**asdict(each.stamp), "fault": each.fault}
            for path, each in sorted(self.images.items())
        }
        config = {"format": FORMAT, "model": self.model, "images": images}
        rows = self.rows()
        self.codes = {name: encode_rows(rows, *parse_name(name)) for name in self.codes}
        save_checkpoint(folder, config, {"embeddings": rows, **self.codes})

    @classmethod
    def load(cls, folder: Path, width: int | None = None) -> ImageIndex | None:
        """Reads what `save` wrote; returns None if there is no index.

        `width` is that of the model's embeddings; None accepts any.

        Raises:
            CheckpointError: if the index is broken or of a different format; build it again.
            ValueError: if the folder holds something else, which must not be overwritten.
        """
        if not (folder / TENSORS_FILE).exists():
            return None
        config, tensors = load_arrays(folder)
        found = str(config.get("format"))
        if not found.startswith((KIND, FORMER_KIND)):
            raise ValueError(
                f"{folder} is not an image index; choose a different folder with --index"
            )
        if found != FORMAT or "embeddings" not in tensors:
            raise CheckpointError(f"{folder} has format {found}, expected {FORMAT}")
        try:
            images = {_path(name): _image(values) for name, values in config["images"].items()}
            index = cls(model=dict(config["model"]), images=images)
            known_stamps(index.model)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder} holds a broken image index ({error!r})") from error
        paths, rows = index.paths(), tensors["embeddings"]
        if not _are_embeddings(rows, len(paths), width):
            raise CheckpointError(
                f"{folder} has embeddings of shape {rows.shape} and type {rows.dtype}, expected "
                f"{len(paths)} rows of {width or 'some'} finite float32 numbers"
            )
        for path, row in zip(paths, rows, strict=True):
            index.vectors[images[path].stamp.sha256] = row
        index.codes = {name: each for name, each in tensors.items() if _are_codes(name, each, rows)}
        return index

    def rows(self, among: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Returns the embeddings (n, E) in the order of `paths`, or those of the places `among`."""
        paths = self.paths()
        if among is not None:
            paths = [paths[place] for place in among.tolist()]
        vectors = [self.vectors[self.images[path].stamp.sha256] for path in paths]
        return np.stack(vectors) if vectors else np.empty((0, 0), np.float32)


def _stored(path: str) -> str:
    """Returns a path as JSON can hold it: one that is not UTF-8 as NUL and the hex of its bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "\0" + os.fsencode(path).hex()
    return path


def _path(stored: str) -> str:
    return os.fsdecode(bytes.fromhex(stored[1:])) if stored.startswith("\0") else stored


def _image(values: Mapping[str, Any]) -> IndexedImage:
    stamp = {key: value for key, value in values.items() if key != "fault"}
    if not isinstance(values["fault"], str | None):
        raise TypeError(f"fault is {values['fault']!r}, expected a text or null")
    return IndexedImage(stamp=FileStamp(**stamp), fault=values["fault"])


def _are_embeddings(rows: NDArray[Any], count: int, width: int | None) -> bool:
    if rows.dtype != np.float32 or rows.ndim != 2 or len(rows) != count:
        return False
    if count and (rows.shape[1] == 0 or width not in (None, rows.shape[1])):
        return False
    with np.errstate(invalid="ignore", over="ignore"):  # the result is checked
        return bool(np.isfinite(rows.sum()))  # one pass, and no copy


def _are_codes(name: str, found: NDArray[Any], rows: Vector) -> bool:
    """Returns whether a tensor of an index has the form of these codes; others are not used."""
    try:
        expected = encode_rows(rows[:0], *parse_name(name))
    except ValueError:  # no name of codes, such as that of the embeddings
        return False
    return (found.dtype, found.shape) == (expected.dtype, (len(rows), *expected.shape[1:]))
