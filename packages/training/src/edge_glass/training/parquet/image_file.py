"""Parquet files that hold images, as `fetch` and `import` write them.

Columns are built from buffers and not with `pa.array`. It looks at Python lists with pandas if
pandas is installed, and loading that takes each worker process a third of a second and 40 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.training.parquet.schemas import IMAGE, IMAGE_BYTES, TEXTS

MAX_BYTES = 2**31 - 1  # of one column of a row group, whose offsets have 32 bits


def storage(schema: pa.Schema, *, dictionary_bytes: int, repeated: bool = True) -> dict[str, Any]:
    """Returns the options of a `ParquetWriter`.

    Images are compressed already. An image that several rows of a row group share is stored once,
    by dictionary encoding. It costs a hash of all bytes, so it is left out if no rows share images.

    Args:
        schema: of the file, with `IMAGE` as column `image`.
        dictionary_bytes: more than the images of a row group have.
        repeated: whether rows share images.
    """
    empty = pa.BufferOutputStream()
    pq.ParquetWriter(empty, schema).close()
    stored = pq.ParquetFile(pa.BufferReader(empty.getvalue())).schema
    names = [stored.column(number).path for number in range(len(stored))]
    return {
        "compression": {name: "none" if name == IMAGE_BYTES else "zstd" for name in names},
        "write_statistics": [name for name in names if not name.startswith("image.")],
        "use_dictionary": [name for name in names if repeated or name != IMAGE_BYTES],
        "dictionary_pagesize_limit": dictionary_bytes,
    }


def image_column(images: Sequence[tuple[bytes, str] | None]) -> pa.StructArray:
    """Returns the column `image` from bytes and names; None is a row without an image."""
    data = _array([image and image[0] for image in images], pa.binary())
    names = _array([image and image[1].encode() for image in images], pa.string())
    valid = [image is not None for image in images]
    return pa.Array.from_buffers(IMAGE, len(images), [_bitmap(valid)], children=[data, names])


def text_column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Returns a column of texts, or of lists of texts if `kind` is `TEXTS`; None is a null."""
    if kind != TEXTS:
        return _array([None if value is None else value.encode() for value in values], kind)
    inner = _array([text.encode() for value in values for text in value or ()], pa.string())
    valid = [value is not None for value in values]
    buffers = [_bitmap(valid), _offsets([len(value or ()) for value in values])]
    return pa.Array.from_buffers(kind, len(values), buffers, children=[inner])


def _array(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    valid = [value is not None for value in values]
    buffers = [
        _bitmap(valid),
        _offsets([len(value or b"") for value in values]),
        pa.py_buffer(b"".join(value or b"" for value in values)),
    ]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _offsets(sizes: list[int]) -> pa.Buffer:
    offsets = list(accumulate(sizes, initial=0))
    if offsets[-1] > MAX_BYTES:
        raise ValueError(
            f"a row group has {offsets[-1]} bytes in one column, expected at most {MAX_BYTES}"
        )
    return pa.py_buffer(np.array(offsets, np.int32))


def _bitmap(valid: list[bool]) -> pa.Buffer | None:
    return None if all(valid) else pa.py_buffer(np.packbits(valid, bitorder="little"))
