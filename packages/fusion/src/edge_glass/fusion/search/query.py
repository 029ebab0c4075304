"""Search in a folder of pictures, by a text or by another picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edge_glass.encoders.checkpoint import CheckpointError
from edge_glass.encoders.device import place_model
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.fusion.search.files import is_picture_name, model_stamp, same_model
from edge_glass.fusion.search.index import PictureIndex, Vector
from edge_glass.fusion.search.location import index_place
from edge_glass.fusion.search.update import (
    IndexUpdater,
    one_torch_thread,
)
from edge_glass.fusion.sheets.contact_sheet import FoundPicture, search_sheet


@dataclass(frozen=True, kw_only=True)
class Found:
    """A picture that was found: its place from 1, its path and its cosine with the query."""

    rank: int
    path: Path
    score: float


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found, best first.

    Attributes:
        found: of equal scores the path that sorts first comes first.
        num_pictures: that were compared.
        num_encoded: that were new or changed, and went through the vision encoder.
        unreadable: what is wrong with each picture that was left out, by path in the folder.
    """

    found: list[Found]
    num_pictures: int
    num_encoded: int
    unreadable: dict[str, str]


def search_folder(
    query: str,
    folder: Path,
    *,
    model_folder: Path,
    dim: int | None = None,
    top: int = 5,
    index_folder: Path | None = None,
    notify: Callable[[str], None] = lambda _message: None,
) -> SearchResult:
    """Ranks a folder's pictures by their likeness to a query; encodes what the index lacks.

    Args:
        query: a text, or the path of a picture.
        folder: of pictures, with its subfolders.
        model_folder: of a dual encoder.
        dim: numbers of an embedding that are compared, one of the model's Matryoshka dims; all
            where None.
        top: how many pictures to give at most.
        index_folder: of the index; in the folder, or in the user's cache where None.
        notify: takes messages for people.

    Raises:
        OSError: where a folder or file is not there, or the index can't be written.
        ValueError: where an argument can't be, the model does not load, or no picture is readable.
    """
    image = _query_image(query)
    if top < 1:
        raise ValueError(f"top is {top}, expected at least 1 picture")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder; give a folder of pictures")
    model = DualEncoder.from_pretrained(model_folder, load_encoders=False)
    dims = model.config.matryoshka_dims
    if dim is not None and dim not in dims:
        raise ValueError(f"dim is {dim}, expected one that the model was trained at: {list(dims)}")
    place_model(model)
    index, updater = update_folder(
        folder, model, model_folder, index_folder=index_folder, notify=notify
    )
    with one_torch_thread():
        vector = _encode(query if image is None else image, model)
    paths, scores = index.paths(), index.scores(vector, dim)
    best = np.argsort(-scores, kind="stable")[:top]
    found = [
        Found(rank=place + 1, path=folder / paths[row], score=float(scores[row]))
        for place, row in enumerate(best)
    ]
    return SearchResult(
        found=found,
        num_pictures=len(paths),
        num_encoded=updater.num_encoded,
        unreadable=updater.unreadable,
    )


def update_folder(
    folder: Path,
    model: DualEncoder,
    model_folder: Path,
    *,
    index_folder: Path | None = None,
    notify: Callable[[str], None] = lambda _message: None,
) -> tuple[PictureIndex, IndexUpdater]:
    """Brings the index of a folder of pictures up to date.

    Raises:
        OSError: where the folder is not there, or the index can't be written.
        ValueError: where the folder holds no readable picture.
    """
    place = index_place(folder, index_folder)
    try:
        index = PictureIndex.load(place.read)
    except CheckpointError as error:
        notify(f"the index is built anew: {error}")
        index = None
    device = model.logit_scale.device.type
    stamp = model_stamp(model_folder, model.config, device, index.model if index else {})
    if index is None or not same_model(index.model, stamp):
        if index is not None:
            notify("the index is of another model: all pictures are encoded again")
        index = PictureIndex(model=stamp)
    restamped = index.model != stamp  # the same files at another time: they need no hashing again
    index.model = stamp
    told = False

    def save(changed: PictureIndex) -> None:
        nonlocal told
        if place.is_cache and not told:
            notify(
                f"{folder} can't be written: its index is kept in {place.write} "
                "(choose another folder with --index)"
            )
            told = True
        changed.save(place.write)

    updater = IndexUpdater(index, folder, model, save)
    updater.run(save_anyway=restamped)
    if not index.paths():
        seen = len(updater.unreadable)
        example = next((f": {path}: {why}" for path, why in updater.unreadable.items()), "")
        raise ValueError(f"{folder} holds no readable picture (of {seen} found{example})")
    return index, updater


def query_picture(query: str) -> Path | None:
    """Tells whether a query is the path of a picture; a text gives None.

    A picture is a file whose name ends as a picture's, or any file named with its folder.

    Raises:
        FileNotFoundError: where it is named like a picture and is not there.
        ValueError: where it is empty.
    """
    if not query.strip():
        raise ValueError("the query is empty; give a text, or the path of a picture")
    path = Path(query)
    named = is_picture_name(query)
    if ("/" in query or named) and path.is_file():
        return path
    if named and len(query.split()) == 1:
        raise FileNotFoundError(f"{query}: no such picture; give its path, or a text to look for")
    return None


def draw_search(path: Path, query: str, folder: Path, result: SearchResult) -> None:
    """Writes a contact sheet of what a search found, as PNG."""
    picture = query_picture(query)
    count = f"{len(result.found)} of {result.num_pictures:,} pictures in {folder}"
    search_sheet(
        path,
        _query_image(query) or query,
        [
            FoundPicture(
                picture=to_rgb(decode_image(each.path.read_bytes())),
                name=each.path.relative_to(folder).as_posix(),
                score=each.score,
            )
            for each in result.found
        ],
        note=count if picture is None else f"{picture.name}: {count}",
    )


def _query_image(query: str) -> Image.Image | None:
    path = query_picture(query)
    try:
        return None if path is None else to_rgb(decode_image(path.read_bytes()))
    except BadImageError as error:
        raise ValueError(f"{path}: not a readable picture ({error.detail})") from None


def _encode(query: str | Image.Image, model: DualEncoder) -> Vector:
    if isinstance(query, str):
        model.add_encoders(text=True)
        embeddings = model.encode_text([query])
    else:
        model.add_encoders(vision=True)
        embeddings = model.encode_image([query])
    vector: Vector = embeddings[0].numpy()
    return vector
