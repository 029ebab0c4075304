"""One row group looked at: its pictures' identities and hashes, its texts, and what is wrong.

A pure function of the row group, the parameters and the seed, so that any executor may run it. What
comes back is some 30 bytes a picture and 8 a text, whatever the pictures weigh.
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

from edge_glass.encoders.images import BadImageError
from edge_glass.training.parquet.row_groups import RowGroups, open_row_groups
from edge_glass.training.parquet.row_reader import RowReader
from edge_glass.training.prepare.filters import PrepareConfig, image_hash
from edge_glass.training.prepare.splits import image_id, split_of
from edge_glass.training.prepare.texts import PICTURE, Text, columns_to_read, find_subset, texts_of

READ_ROWS = 32  # of a row group at a time: 16 MB of photos of 500 kB
DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A row group, and what it takes to read it.

    Attributes:
        kind: "captions" or "questions".
        subset: of `schemas.SUBSETS`.
        group: the row group, as an index of its own.
        columns: to read, beside the picture.
        first: number of its first row, counted over the files of its source.
        seed: of the run.
        config: what is kept.
    """

    kind: str
    subset: str
    group: RowGroups
    columns: tuple[str, ...]
    first: int
    seed: int
    config: PrepareConfig

    def rows(self, *, pictures: bool = True) -> Iterator[tuple[bytes, dict[str, Any], list[Text]]]:
        """Yields each row's picture (b"" where there is none), its columns and its texts.

        Raises:
            DataError: where the file can't be read.
        """
        names = [*self.columns, *([PICTURE] if pictures else [])]
        # not mapped: pages of a mapped file count as the process's memory
        reader = RowReader(self.group, names, memory_map=False, read_rows=READ_ROWS)
        for number, row in enumerate(reader.read(0, np.arange(self.group.num_rows))):
            texts = texts_of(
                self.subset,
                row,
                seed=self.seed,
                index=self.first + number,
                max_length=self.config.max_caption_length,
            )
            yield (row.get("image") or {}).get("bytes") or b"", row, texts
        # Arrow keeps what it freed: in a process that waits for its next row group, for nothing
        pa.default_memory_pool().release_unused()


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What a row group holds: m different pictures, n texts.

    Attributes:
        num_rows: rows read.
        digests: (m, 16) uint8, the identities in the order of their first rows.
        hashes: (m,) uint64, perceptual; 0 for pictures that can't be used.
        names: what `problems` and `splits` count in; the first is "".
        pictures: (n,) int32, number in `digests`.
        problems: (n,) int16, why the text is dropped; 0 where it is not.
        splits: (n,) int16.
    """

    num_rows: int
    digests: NDArray[np.uint8] = field(repr=False)
    hashes: NDArray[np.uint64] = field(repr=False)
    names: tuple[str, ...]
    pictures: NDArray[np.int32] = field(repr=False)
    problems: NDArray[np.int16] = field(repr=False)
    splits: NDArray[np.int16] = field(repr=False)


def inspect(partition: Partition) -> Findings:
    """Looks at every row of a partition; each different picture is decoded once.

    Raises:
        DataError: where the file can't be read.
    """
    names: dict[str, int] = {"": 0}
    seen: dict[str, int] = {}  # of this partition
    hashes: list[int] = []
    bad: list[str] = []
    drawn: list[str] = []
    texts: list[tuple[int, int, int]] = []
    num_rows = 0
    for data, row, row_texts in partition.rows():
        num_rows += 1
        identity = image_id(data)
        picture = seen.setdefault(identity, len(seen))
        if picture == len(hashes):
            fingerprint, reason = _judge(data, partition.config)
            hashes.append(fingerprint)
            bad.append(reason)
            drawn.append(split_of(identity, partition.seed, partition.config.shares))
        split = names.setdefault(row.get("split") or drawn[picture], len(names))
        for text in row_texts:
            problem = names.setdefault(bad[picture] or text.problem, len(names))
            texts.append((picture, problem, split))
    columns = np.array(texts, dtype=np.int64).reshape(-1, 3)
    return Findings(
        num_rows=num_rows,
        digests=to_digests(list(seen)),
        hashes=np.array(hashes, dtype=np.uint64),
        names=tuple(names),
        pictures=columns[:, 0].astype(np.int32),
        problems=columns[:, 1].astype(np.int16),
        splits=columns[:, 2].astype(np.int16),
    )


def to_digests(identities: Sequence[str]) -> NDArray[np.uint8]:
    """Returns identities, as `splits.image_id` writes them, as (m, 16) bytes."""
    joined = bytes.fromhex("".join(identities))
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(identities), DIGEST_BYTES)


def _judge(data: bytes, config: PrepareConfig) -> tuple[int, str]:
    try:
        return image_hash(data, config), ""
    except BadImageError as error:
        return 0, error.reason


def plan_partitions(
    kind: str, sources: Sequence[Path], *, seed: int, config: PrepareConfig
) -> Iterator[Partition]:
    """Yields the row groups of data sets, in the order of the sources, files and rows.

    Args:
        kind: "captions" or "questions".
        sources: files, or folders of files.
        seed: of the run.
        config: what is kept.

    Raises:
        DataError: where a source has no files or rows, or a file is torn or of no known sub-set.
    """
    for source in sources:
        index = open_row_groups(source)
        known: dict[Path, tuple[str, tuple[str, ...]]] = {}
        for number in range(len(index.rows)):
            path = index.path(number)
            if path not in known:
                schema = pq.read_schema(path)
                subset = find_subset(kind, schema, where=path)
                known[path] = subset, columns_to_read(kind, subset, schema)
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
