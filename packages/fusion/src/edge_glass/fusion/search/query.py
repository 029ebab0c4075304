"""Search in a folder of images, by a text or by an image."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_glass.encoders.checkpoint import CheckpointError
from edge_glass.encoders.file_names import read_fault, shown
from edge_glass.encoders.files import write_atomic
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.fusion.codes import (
    CANDIDATES,
    check_precision,
    code_name,
    encode_rows,
    nearest_rows,
)
from edge_glass.fusion.search.embedder import Embedder, load_embedder
from edge_glass.fusion.search.files import is_image_name, same_model
from edge_glass.fusion.search.index import ImageIndex
from edge_glass.fusion.search.location import index_location
from edge_glass.fusion.search.ranking import best_places, unique_rows
from edge_glass.fusion.search.update import IndexUpdater
from edge_glass.fusion.sheets.contact_sheet import FoundImage, search_sheet

LEFT_OUT_FILE = "left_out.jsonl"


@dataclass(frozen=True, kw_only=True)
class Found:
    """An image that was found.

    Attributes:
        rank: from 1.
        path: of the first file with this content, by name.
        score: its cosine with the query.
        copies: how many other files of the folder have the same bytes.
    """

    rank: int
    path: Path
    score: float
    copies: int = 0


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Result of a search.

    Attributes:
        found: best first; images of equal score are sorted by path. Equal files are found once.
        num_images: how many were compared.
        num_encoded: how many were new or changed, and went through the vision encoder.
        left_out: why an image was left out, by path in the folder.
        report: a file that lists `left_out`; None if nothing was left out or it can't be written.
    """

    found: list[Found]
    num_images: int
    num_encoded: int
    left_out: dict[str, str]
    report: Path | None = None


def search_folder(
    query: str,
    folder: Path,
    *,
    model_folder: Path,
    dim: int | None = None,
    top: int = 5,
    index_folder: Path | None = None,
    runtime: str = "torch",
    precision: str = "float32",
    candidates: int | None = None,
    notify: Callable[[str], None] = lambda _message: None,
) -> SearchResult:
    """Ranks the images of a folder by their likeness to a query; encodes what the index lacks.

    The query is a text, or the path of an image. `dim` is how many numbers of an embedding are
    compared, one of the model's Matryoshka dims; None compares all. With a `precision` of int8 or
    1bit these numbers choose `candidates` per wanted image (`CANDIDATES` if None), which are ranked
    by their full vectors. If `index_folder` is None, the index is in `folder`, or in the user's
    cache. `runtime` is torch, or onnx for the folder of an exported model. `notify` receives
    messages for people.
    """
    image = _query_image(query)
    if top < 1:
        raise ValueError(f"top is {top}, expected at least 1 image")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder; give a folder of images")
    check_precision(precision)
    if candidates is not None and (candidates < 1 or precision == "float32"):
        raise ValueError(
            f"candidates is {candidates} and precision {precision}, expected at least 1, with int8 "
            "or 1bit: float32 compares all images by the numbers that it ranks"
        )
    model = load_embedder(model_folder, runtime)
    if dim is not None and dim not in model.dims:
        raise ValueError(
            f"dim is {dim}, expected one that the model was trained at: {list(model.dims)}"
        )
    index, updater = update_folder(folder, model, index_folder=index_folder, notify=notify)
    with model.one_thread():
        vector = model.embed_text(query) if image is None else model.embed_images([image])[0]
    paths = index.paths()
    copies = unique_rows(index)
    rows = np.array(list(copies))
    if precision == "float32":
        scores = index.scores(vector, dim, rows)
    else:
        codes = _codes(index, dim or model.dims[0], precision, updater.save)
        codes = codes if len(rows) == len(codes) else codes[rows]
        count = top * (candidates or CANDIDATES)
        rows = rows[np.sort(nearest_rows(codes, vector[:dim], precision, count))]
        scores = index.scores(vector, among=rows)
    found = [
        Found(
            rank=rank,
            path=folder / paths[rows[place]],
            score=float(scores[place]),
            copies=copies[int(rows[place])],
        )
        for rank, place in enumerate(best_places(scores, top), start=1)
    ]
    return SearchResult(
        found=found,
        num_images=len(paths),
        num_encoded=updater.num_encoded,
        left_out=updater.left_out,
        report=write_left_out(index_location(folder, index_folder).write, updater.left_out),
    )


def write_left_out(folder: Path, left_out: Mapping[str, str]) -> Path | None:
    """Writes which files were left out and why, as JSON lines into the folder of the index.

    Returns the file; None if nothing was left out or the folder can't be written.
    """
    path = folder / LEFT_OUT_FILE
    try:
        if not left_out:
            path.unlink(missing_ok=True)
            return None
        rows = ({"file": shown(name), "reason": why} for name, why in sorted(left_out.items()))
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(path, lines.encode())
    except OSError:  # a folder for reading only: the caller has the list
        return None
    return path


def update_folder(
    folder: Path,
    model: Embedder,
    *,
    index_folder: Path | None = None,
    notify: Callable[[str], None] = lambda _message: None,
) -> tuple[ImageIndex, IndexUpdater]:
    """Brings the index of a folder of images up to date.

    Of two searches at once each saves a whole index, and the later one stays. An index that can't
    be saved is reported, and the search goes on without it.
    """
    location = index_location(folder, index_folder)
    try:
        index = ImageIndex.load(location.read, model.dims[0])
    except CheckpointError as error:
        notify(f"the index is built again: {error}")
        index = None
    stamp = model.stamp(index.model if index else {})
    if index is None or not same_model(index.model, stamp):
        if index is not None:
            notify("the index is of a different model: all images are encoded again")
        index = ImageIndex(model=stamp)
    restamped = index.model != stamp  # the same files with new times: save these
    index.model = stamp
    reported: set[str] = set()

    def report(message: str) -> None:
        if message not in reported:
            notify(message)
        reported.add(message)

    def save(changed: ImageIndex) -> None:
        if location.is_cache:
            report(
                f"{folder} can't be written: its index is kept in {location.write} "
                "(choose a different folder with --index)"
            )
        try:
            changed.save(location.write)
        except OSError as error:
            report(f"the index is not saved, the next search encodes again: {error}")

    updater = IndexUpdater(index, folder, model, save)
    updater.run(save_anyway=restamped)
    if not index.paths():
        example = next((f": {path}: {why}" for path, why in updater.left_out.items()), "")
        raise ValueError(
            f"{folder} holds no readable image (of {len(updater.left_out)} found{example})"
        )
    return index, updater


def query_image_path(query: str) -> Path | None:
    """Returns the path of the image that a query names; None if the query is a text.

    Every existing file is an image query: a file name is never searched as a text.
    """
    if not query.strip():
        raise ValueError("the query is empty; give a text, or the path of an image")
    # Path.is_file fails on a text that is too long for a file name.
    broken_link = os.path.islink(query) and not os.path.exists(query)  # noqa: PTH110, PTH114
    if broken_link or os.path.isfile(query):  # noqa: PTH113
        return Path(query)
    if is_image_name(query):
        remedy = "give its path, or a text without a suffix"
        raise FileNotFoundError(f"{shown(query)}: no such image; {remedy}")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the query {shown(query)} is not UTF-8; write it in UTF-8") from error
    return None


def draw_search(path: Path, query: str, folder: Path, result: SearchResult) -> None:
    """Writes a contact sheet of a search's result, as PNG."""
    queried = query_image_path(query)
    count = f"{len(result.found)} of {result.num_images:,} images in {folder}"
    search_sheet(
        path,
        _query_image(query) or query,
        [
            FoundImage(
                image=_image_or_none(each.path),
                name=shown(each.path.relative_to(folder).as_posix()),
                score=each.score,
            )
            for each in result.found
        ],
        note=shown(count if queried is None else f"{queried.name}: {count}"),
    )


def _image_or_none(path: Path) -> Image.Image | None:
    try:
        return to_rgb(decode_image(path.read_bytes()))
    except (BadImageError, OSError):  # deleted or changed since it was found
        return None


def _query_image(query: str) -> Image.Image | None:
    path = query_image_path(query)
    if path is None:
        return None
    try:
        return to_rgb(decode_image(path.read_bytes()))
    except BadImageError as error:
        raise ValueError(f"{path}: not a readable image ({error.detail})") from None
    except OSError as error:
        raise ValueError(f"{path}: {read_fault(error)}") from None


def _codes(
    index: ImageIndex, dim: int, precision: str, save: Callable[[ImageIndex], None]
) -> NDArray[Any]:
    """Returns the codes of an index; new ones are saved with it, see `ImageIndex.save`."""
    name = code_name(dim, precision)
    if name not in index.codes:
        index.codes[name] = encode_rows(index.rows(), dim, precision)
        save(index)
    return index.codes[name]
