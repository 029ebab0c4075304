"""The index of a folder of pictures: an embedding each, kept beside the pictures.

What is unusual: scores are exact. Embeddings are rounded to steps of 2**-26, so that a dot product
in float64 is a whole number of steps that any order of summing gives: a picture's score is the same
bits alone, in a folder of a hundred thousand, and on another machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_glass.encoders.checkpoint import (
    TENSORS_FILE,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from edge_glass.fusion.search.files import FileStamp

KIND = "edge-glass-picture-index/"
FORMAT = KIND + "1"

_STEPS = 2.0**26  # rows of length 1 in these steps: dot products reach 2**52, float64 holds 2**53
_BLOCK = 8192  # rows scored at once: 32 MB at 512 dims

Vector = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class IndexedPicture:
    """A picture file as it was encoded: its stamp, and what is wrong with it, if anything is."""

    stamp: FileStamp
    fault: str | None = None


@dataclass(kw_only=True)
class PictureIndex:
    """Embeddings of a folder's pictures.

    Attributes:
        model: stamp of the model that encoded them (see ``model_stamp``).
        pictures: by path in the folder; those with a fault have no embedding.
        vectors: embeddings at the full width, normalised, by content (sha256): a file that was
            moved or copied needs no encoding.
    """

    model: dict[str, Any]
    pictures: dict[str, IndexedPicture] = field(default_factory=dict)
    vectors: dict[str, Vector] = field(default_factory=dict)

    def paths(self) -> list[str]:
        """Gives the paths of the pictures that have an embedding, in order."""
        return sorted(path for path, each in self.pictures.items() if each.fault is None)

    def faults(self) -> dict[str, str]:
        """Gives what is wrong with the pictures that have none."""
        return {path: each.fault for path, each in sorted(self.pictures.items()) if each.fault}

    def scores(self, query: Vector, dim: int | None = None) -> NDArray[np.float64]:
        """Gives each picture's cosine with a query, in the order of ``paths``; exact.

        Args:
            query: embedding (E,) at the full width, normalised.
            dim: compare the first numbers only; all where None.
        """
        asked = _steps(query[:dim])
        length = np.sqrt(asked @ asked)
        rows = self._rows()
        scores = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            block = _steps(rows[start : start + _BLOCK, :dim])
            lengths = np.sqrt(np.einsum("md,md->m", block, block)) * length
            dots = block @ asked
            scores[start : start + _BLOCK] = dots / np.where(lengths == 0, 1.0, lengths)
        return scores

    def save(self, folder: Path) -> None:
        """Writes the index; equal contents give equal bytes, a kill leaves the old or the new.

        Raises:
            OSError: where it can't be written.
        """
        pictures = {
            path: {**asdict(each.stamp), "fault": each.fault}
            for path, each in sorted(self.pictures.items())
        }
        config = {"format": FORMAT, "model": self.model, "pictures": pictures}
        save_checkpoint(folder, config, {"embeddings": torch.from_numpy(self._rows())})

    @classmethod
    def load(cls, folder: Path) -> PictureIndex | None:
        """Reads what ``save`` wrote; None where there is nothing.

        Raises:
            CheckpointError: where it is broken or of another format, and can be built anew.
            ValueError: where the folder holds a checkpoint of another kind.
        """
        if not (folder / TENSORS_FILE).exists():
            return None
        config, tensors = load_checkpoint(folder)
        kind = str(config.get("format"))
        if not kind.startswith(KIND):  # somebody's model, which must not be written over
            raise ValueError(f"{folder} holds something else than a picture index; choose another")
        if kind != FORMAT or set(tensors) != {"embeddings"}:
            raise CheckpointError(f"{folder} is no picture index of format {FORMAT}")
        try:
            pictures = {path: _picture(values) for path, values in config["pictures"].items()}
            index = cls(model=dict(config["model"]), pictures=pictures)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder} holds a broken picture index ({error!r})") from error
        paths, rows = index.paths(), tensors["embeddings"].numpy()
        if len(rows) != len(paths):
            raise CheckpointError(f"{folder} has {len(rows)} rows for {len(paths)} pictures")
        for path, row in zip(paths, rows, strict=True):
            index.vectors[pictures[path].stamp.sha256] = row
        return index

    def _rows(self) -> NDArray[np.float32]:
        vectors = [self.vectors[self.pictures[path].stamp.sha256] for path in self.paths()]
        return np.stack(vectors) if vectors else np.empty((0, 0), np.float32)


def _picture(values: Mapping[str, Any]) -> IndexedPicture:
    stamp = {key: value for key, value in values.items() if key != "fault"}
    return IndexedPicture(stamp=FileStamp(**stamp), fault=values["fault"])


def _steps(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    steps: NDArray[np.float64] = np.rint(vectors.astype(np.float64) * _STEPS)
    return steps
