"""Local copies of images: folders and Parquet files, found by the hash of their URL.

A folder holds, at any depth, files that are named by the hash (with any extension), or Parquet
files. A Parquet file has `url_hash` (hex) or `image_url`, and the images as `image` (struct with
`bytes`) or `bytes`. So the output folder of a different fetch is a mirror as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import DataError
from edge_glass.training.fetch.index import url_hash
from edge_glass.training.fetch.input import Folder

BATCH_ROWS = 64
# from the hash of a URL to the number of the image, or -1 if it is not wanted (any more)
Wanted = Callable[[str], int]


def mirrored_images(
    mirrors: tuple[Path, ...], wanted: Wanted, max_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Yields number and bytes of the wanted images in mirrors, with a few in memory at a time.

    Args:
        mirrors: folders and Parquet files.
        wanted: returns the number of the image with a URL hash.
        max_bytes: larger images are skipped.

    Raises:
        DataError: if a Parquet file can't be read or lacks the columns.
    """
    for mirror in mirrors:
        if mirror.is_file():
            yield from _from_parquet(mirror, wanted, max_bytes)
            continue
        for folder, folders, names in os.walk(mirror):
            if "work" in folders and Folder(Path(folder)).plan.exists():
                folders[:] = []  # the folder of a fetch: the Parquet files in it have the images
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix == ".parquet" and not name.startswith("."):
                    yield from _from_parquet(path, wanted, max_bytes)
                elif _is_hash(path.stem):
                    image = wanted(path.stem.lower())
                    if image >= 0 and path.stat().st_size <= max_bytes:
                        yield image, path.read_bytes()


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
                    f"mirror {path}: expected url_hash or image_url, and image or bytes; "
                    f"found {', '.join(names)}"
                )
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[key, data]):
                keys = batch.column(key).to_pylist()
                for text, value in zip(keys, batch.column(data), strict=True):
                    if not text:
                        continue
                    hashed = url_hash(text) if key == "image_url" else text.lower()
                    if not _is_hash(hashed) or (image := wanted(hashed)) < 0:
                        continue
                    if not value.is_valid:
                        continue
                    body = value["bytes"].as_py() if data == "image" else value.as_py()
                    if body and len(body) <= max_bytes:
                        yield image, body
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"mirror {path}: can't be read ({error}); leave it out") from error
