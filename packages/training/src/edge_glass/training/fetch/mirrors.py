"""Pictures that somebody has already: folders and Parquet files, keyed by url hash.

A folder holds files named by the hash, with any extension, at any depth; or Parquet files. A
Parquet file has `url_hash` (hex) or `image_url`, and the pictures as `image` (struct with `bytes`)
or `bytes`: the output folder of another fetch is a mirror as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import DataError
from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.index import url_hash

BATCH = 64
# from a url hash to the picture's number, -1 where it is not wanted (any more)
Wanted = Callable[[str], int]


def mirrored_pictures(
    mirrors: tuple[Path, ...], wanted: Wanted, max_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Yields the wanted pictures that mirrors hold, a few in memory at a time.

    Args:
        mirrors: folders and Parquet files.
        wanted: says which picture a url hash is.
        max_bytes: larger ones are passed over.

    Raises:
        DataError: where a Parquet file can't be read or has not the columns.
    """
    for mirror in mirrors:
        if mirror.is_file():
            yield from _from_parquet(mirror, wanted, max_bytes)
            continue
        for folder, folders, names in os.walk(mirror):
            if "work" in folders and Folder(Path(folder)).plan.exists():
                folders[:] = []  # another fetch's: its own Parquet files have the pictures
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix == ".parquet" and not name.startswith("."):
                    yield from _from_parquet(path, wanted, max_bytes)
                elif _is_hash(path.stem):
                    picture = wanted(path.stem.lower())
                    if picture >= 0 and path.stat().st_size <= max_bytes:
                        yield picture, path.read_bytes()


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(letter in "0123456789abcdefABCDEF" for letter in text)


def _from_parquet(path: Path, wanted: Wanted, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    try:
        with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
            names = file.schema_arrow.names
            key = next((name for name in ("url_hash", "image_url") if name in names), None)
            data = next((name for name in ("image", "bytes") if name in names), None)
            if key is None or data is None:
                raise DataError(
                    f"mirror {path}: needs url_hash or image_url, and image or bytes; "
                    f"found {', '.join(names)}"
                )
            for batch in file.iter_batches(batch_size=BATCH, columns=[key, data]):
                keys = batch.column(key).to_pylist()
                for text, value in zip(keys, batch.column(data), strict=True):
                    if not text:
                        continue
                    hashed = url_hash(text) if key == "image_url" else text.lower()
                    if not _is_hash(hashed) or (picture := wanted(hashed)) < 0:
                        continue
                    if not value.is_valid:
                        continue
                    body = value["bytes"].as_py() if data == "image" else value.as_py()
                    if body and len(body) <= max_bytes:
                        yield picture, body
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"mirror {path}: can't be read ({error}); leave it out") from error
