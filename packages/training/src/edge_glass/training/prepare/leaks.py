"""Leaks: images in two splits, counted from the written files, whose bytes are hashed again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.row_groups import RowGroups, open_row_groups
from edge_glass.training.parquet.row_reader import RowReader
from edge_glass.training.prepare.inspection import DIGEST_BYTES, READ_ROWS, to_digests
from edge_glass.training.prepare.splits import image_id

IMAGES = ".images.parquet"


def image_groups(folder: Path) -> list[tuple[str, RowGroups]]:
    """Returns the row groups of all images below a prepared folder, each with its split."""
    groups = []
    for path in sorted(folder.glob(f"*/*{IMAGES}")):
        index = open_row_groups(path)
        split = path.name.removesuffix(IMAGES)
        groups += [(split, index.only(number)) for number in range(len(index.rows))]
    return groups


def hash_again(group: RowGroups) -> NDArray[np.uint8]:
    """Returns the identities (m, 16) of the images of a written row group, from their bytes.

    Raises:
        DataError: if the bytes of an image do not have its written identity.
    """
    identities = []
    reader = RowReader(group, ["image_id", "bytes"], memory_map=False, read_rows=READ_ROWS)
    for number, row in enumerate(reader.read(0, np.arange(group.num_rows))):
        identities.append(image_id(row["bytes"]))
        if identities[-1] != row["image_id"]:
            raise DataError(
                f"{group.path(0)}: image {int(group.first[0]) + number} has the identity "
                f"{identities[-1]}, but was written as {row['image_id']}: check the disk, and run "
                "the stage again"
            )
    return to_digests(identities)


def count_leaks(splits: Iterable[str], digests: Iterable[NDArray[np.uint8]]) -> int:
    """Counts the images that are in more than one split.

    Args:
        splits: of each array of digests.
        digests: (m, 16) uint8 each.
    """
    codes: dict[str, int] = {}
    keys, splits_of_images = [], []
    for split, group in zip(splits, digests, strict=True):
        keys.append(np.ascontiguousarray(group).view(f"S{DIGEST_BYTES}").reshape(-1))
        splits_of_images.append(np.full(len(group), codes.setdefault(split, len(codes))))
    images = np.unique(np.concatenate(keys), return_inverse=True)[1]
    pairs = np.unique(images * len(codes) + np.concatenate(splits_of_images))
    return int((np.bincount(pairs // len(codes)) > 1).sum())
