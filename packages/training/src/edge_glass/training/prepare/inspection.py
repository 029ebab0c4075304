"""The inspection of one row group: identities and hashes of its images, its texts, and problems.

It is a pure function of the row group, the parameters and the seed, so any executor may run it. The
result has 24 bytes per image and 20 per text, whatever the size of the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from edge_glass.encoders.files import DataError
from edge_glass.encoders.images import BadImageError
from edge_glass.training.parquet.row_groups import RowGroups, one_line, open_row_groups
from edge_glass.training.parquet.row_reader import RowReader
from edge_glass.training.parquet.schemas import IMAGE_BYTES
from edge_glass.training.prepare.filters import PrepareConfig, image_hash
from edge_glass.training.prepare.split_column import check_split_column
from edge_glass.training.prepare.splits import image_id, named_split, split_of
from edge_glass.training.prepare.texts import (
    WRITTEN_IF_FOUND,
    Text,
    columns_to_read,
    find_subset,
    labels_as_text,
    texts_of,
)
from edge_glass.training.runtime.canonical_caption import caption_number

READ_ROWS = 32  # rows read at a time: 16 MB of photos of 500 kB
DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A row group, and what is needed to read it.

    Attributes:
        kind: "captions" or "questions".
        subset: a name of `schemas.SUBSETS`.
        group: the row group, as an index of its own.
        columns: the columns to read, without the image.
        first: number of its first row, counted over the files of its source.
    """

    kind: str
    subset: str
    group: RowGroups
    columns: tuple[str, ...]
    first: int
    seed: int
    config: PrepareConfig

    def rows(self, *, images: bool = True) -> Iterator[tuple[bytes, dict[str, Any], list[Text]]]:
        """Yields for each row its image (b"" if there is none), its columns and its texts."""
        names = [*self.columns, *([IMAGE_BYTES] if images else [])]
        # not mapped, because the pages of a mapped file count as memory of the process
        reader = RowReader(self.group, names, memory_map=False, read_rows=READ_ROWS)
        rows = reader.read(0, np.arange(self.group.num_rows))
        for number, row in enumerate(labels_as_text(self.kind, row) for row in rows):
            texts = texts_of(
                self.subset,
                row,
                seed=self.seed,
                index=self.first + number,
                max_length=self.config.max_caption_length,
            )
            yield (row.get("image") or {}).get("bytes") or b"", row, texts
        # Arrow's pool keeps freed memory; return it, because this process may be idle now
        pa.default_memory_pool().release_unused()


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """The content of a row group with m different images and n texts.

    Attributes:
        num_rows: number of rows.
        digests: (m, 16) uint8, the identities in the order of their first rows.
        hashes: (m,) uint64, perceptual; 0 for images that can't be used.
        names: the names that `problems` and `splits` index; the first is "".
        rows: (n,) int32, the row of the text, counted in the row group.
        images: (n,) int32, indices into `digests`.
        problems: (n,) int16, why the text is dropped; 0 if it is not.
        splits: (n,) int16.
        captions: (n,) uint64, equal for equal captions; 0 for questions and dropped captions.
        found: names of `texts.WRITTEN_IF_FOUND` that a usable text has.
    """

    num_rows: int
    digests: NDArray[np.uint8] = field(repr=False)
    hashes: NDArray[np.uint64] = field(repr=False)
    names: tuple[str, ...]
    rows: NDArray[np.int32] = field(repr=False)
    images: NDArray[np.int32] = field(repr=False)
    problems: NDArray[np.int16] = field(repr=False)
    splits: NDArray[np.int16] = field(repr=False)
    captions: NDArray[np.uint64] = field(repr=False)
    found: frozenset[str] = frozenset()


def inspect(partition: Partition) -> Inspection:
    """Inspects every row of a partition; each different image is decoded once."""
    names: dict[str, int] = {"": 0}
    numbers: dict[str, int] = {}  # from an identity to the image's number
    hashes: list[int] = []
    image_problems: list[str] = []
    drawn_splits: list[str] = []
    texts: list[tuple[int, int, int, int]] = []
    captions: list[int] = []
    found: set[str] = set()
    num_rows = 0
    for data, row, row_texts in partition.rows():
        num_rows += 1
        identity = image_id(data)
        image = numbers.setdefault(identity, len(numbers))
        if image == len(hashes):
            fingerprint, problem = _check_image(data, partition.config)
            hashes.append(fingerprint)
            image_problems.append(problem)
            drawn_splits.append(split_of(identity, partition.seed, partition.config.shares))
        named = named_split(row.get("split"))
        split = names.setdefault(named or drawn_splits[image], len(names))
        for text in row_texts:
            code = names.setdefault(image_problems[image] or text.problem, len(names))
            texts.append((image, code, split, num_rows - 1))
            caption = text.columns.get("canonical_caption")
            captions.append(caption_number(caption) if caption and not code else 0)
            if code == 0:
                found.update(WRITTEN_IF_FOUND[partition.kind].keys() & text.columns.keys())
    columns = np.array(texts, dtype=np.int64).reshape(-1, 4)
    return Inspection(
        num_rows=num_rows,
        digests=to_digests(list(numbers)),
        hashes=np.array(hashes, dtype=np.uint64),
        names=tuple(names),
        rows=columns[:, 3].astype(np.int32),
        images=columns[:, 0].astype(np.int32),
        problems=columns[:, 1].astype(np.int16),
        splits=columns[:, 2].astype(np.int16),
        captions=np.array(captions, dtype=np.uint64),
        found=frozenset(found),
    )


def _subset_and_columns(kind: str, path: Path) -> tuple[str, tuple[str, ...]]:
    """Returns the sub-set of a file and the columns to read; refuses what can't be used."""
    try:
        schema = pq.read_schema(path)
        repeated = {name for name in schema.names if schema.names.count(name) > 1}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: its columns can't be read ({one_line(error)}); get it again"
        ) from error
    if repeated:
        raise DataError(f"{path}: the column {min(repeated)!r} appears twice; rename one")
    subset = find_subset(kind, schema, where=path)
    columns = columns_to_read(kind, subset, schema, where=path)
    if "split" in columns:
        check_split_column(path)
    return subset, columns


def to_digests(identities: Sequence[str]) -> NDArray[np.uint8]:
    """Returns identities from `splits.image_id` as (m, 16) bytes."""
    joined = bytes.fromhex("".join(identities))
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(identities), DIGEST_BYTES)


def _check_image(data: bytes, config: PrepareConfig) -> tuple[int, str]:
    """Returns the perceptual hash of an image, and why it can't be used ("" if it can)."""
    try:
        return image_hash(data, config), ""
    except BadImageError as error:
        return 0, error.reason


def plan_partitions(
    kind: str, sources: Sequence[Path], *, seed: int, config: PrepareConfig
) -> Iterator[Partition]:
    """Yields the row groups of files or folders, in the order of the sources, files and rows."""
    for source in sources:
        index = open_row_groups(source)
        known: dict[Path, tuple[str, tuple[str, ...]]] = {}
        for number in range(len(index.rows)):
            path = index.path(number)
            if path not in known:
                known[path] = _subset_and_columns(kind, path)
            subset, columns = known[path]
            yield Partition(
                kind=kind,
                subset=subset,
                group=index.only(number),
                columns=columns,
                first=int(index.starts[number]),
                seed=seed,
                config=config,
            )
