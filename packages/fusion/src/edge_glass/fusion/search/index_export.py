"""The embeddings of an index as a file that other programs read.

Each file has a second one beside it, `OUT.json`, which lists the paths of the images in the order
of the rows. Parquet holds the paths itself. Bytes of a path that are not UTF-8 are escapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_glass.encoders.checkpoint import CheckpointError
from edge_glass.encoders.file_names import shown
from edge_glass.encoders.files import replacing, write_atomic
from edge_glass.fusion.codes import check_precision, encode_rows
from edge_glass.fusion.search.index import ImageIndex
from edge_glass.fusion.search.location import index_location


def export_index(
    folder: Path,
    out: Path,
    *,
    format_name: str,
    dim: int | None = None,
    precision: str = "float32",
    index_folder: Path | None = None,
) -> int:
    """Writes the embeddings of a folder's index; returns their number.

    Args:
        folder: of the images, which were searched before.
        out: the file to write, which is replaced.
        format_name: one of `FORMATS`.
        dim: the first numbers of each embedding, normalised; all if None.
        precision: float32, int8 or 1bit, see `codes.encode_rows`.
        index_folder: folder of the index if it is not that of `folder`.

    Raises:
        ValueError: if the format or the precision is unknown or not installed, the dim is out of
            range, or there is no index.
        OSError: if the file can't be written.
    """
    if format_name not in FORMATS:
        raise ValueError(f"format is {format_name}, expected one of {', '.join(FORMATS)}")
    check_precision(precision)
    place = index_location(folder, index_folder).read
    try:
        index = ImageIndex.load(place)
    except CheckpointError as error:
        raise ValueError(f"{error}; run `edge-glass search` on {folder} again") from error
    if index is None or not index.paths():
        raise ValueError(f"{place} holds no index; run `edge-glass search` on {folder} first")
    rows = index.rows()
    if dim is not None and not 1 <= dim <= rows.shape[1]:
        raise ValueError(f"dim is {dim}, expected 1 to {rows.shape[1]}")
    dim = dim or rows.shape[1]
    images = [shown(path) for path in index.paths()]  # both files hold UTF-8 only
    try:
        with replacing(out) as temporary:
            codes = encode_rows(rows, dim, precision)
            FORMATS[format_name](temporary, codes, dim, precision, images)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the format {format_name} needs the Python package {error.name}, which is not "
            'installed: python -m pip install "edge-glass-fusion[index]"'
        ) from error
    if format_name != "parquet":
        names = {"dim": dim, "precision": precision, "images": images}
        text = json.dumps(names, indent=1, ensure_ascii=False) + "\n"
        write_atomic(out.with_name(out.name + ".json"), text.encode())
    return len(rows)


def _write_npy(path: Path, codes: NDArray[Any], _dim: int, _kind: str, _names: list[str]) -> None:
    with path.open("wb") as file:
        np.save(file, codes, allow_pickle=False)


def _write_parquet(
    path: Path, codes: NDArray[Any], dim: int, precision: str, names: list[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pa.FixedSizeListArray.from_arrays(pa.array(codes.reshape(-1)), codes.shape[1])
    table = pa.table({"image": names, "embedding": rows})
    metadata = {"dim": str(dim), "precision": precision}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def _write_usearch(
    path: Path, codes: NDArray[Any], dim: int, precision: str, _names: list[str]
) -> None:
    from usearch.index import Index

    metric = "hamming" if precision == "1bit" else "ip"
    kind = {"float32": "f32", "int8": "i8", "1bit": "b1"}[precision]
    width = codes.shape[1] * 8 if precision == "1bit" else dim
    index = Index(ndim=width, metric=metric, dtype=kind)
    index.add(np.arange(len(codes), dtype=np.uint64), codes)
    index.save(str(path))


def _write_faiss(
    path: Path, codes: NDArray[Any], dim: int, precision: str, _names: list[str]
) -> None:
    import faiss

    if precision == "int8":
        raise ValueError("faiss has no index of int8 codes; choose float32 or 1bit")
    if precision == "1bit":
        bits = faiss.IndexBinaryFlat(codes.shape[1] * 8)
        bits.add(codes)
        faiss.write_index_binary(bits, str(path))
        return
    index = faiss.IndexFlatIP(dim)
    index.add(codes)
    faiss.write_index(index, str(path))


FORMATS: dict[str, Callable[[Path, NDArray[Any], int, str, list[str]], None]] = {
    "npy": _write_npy,
    "parquet": _write_parquet,
    "usearch": _write_usearch,
    "faiss": _write_faiss,
}
