"""The images of the folder that the page searches: rankings at each dim, and the images by id."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edge_glass.encoders.file_names import shown
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.fusion.codes import encode_rows, nearest_rows
from edge_glass.fusion.search.index import ImageIndex, Vector
from edge_glass.fusion.search.ranking import best_places, unique_rows
from edge_glass.fusion.serve.failure import RequestError

ID_LETTERS = 32  # of a content's sha256 in hex: 128 bits


@dataclass(frozen=True, kw_only=True)
class SearchedImage:
    """An image as the page knows it.

    Attributes:
        id: the beginning of its content's sha256.
        path: its first file, in the folder.
        copies: how many other files have the same bytes.
    """

    id: str
    path: str
    copies: int


class SearchedImages:
    """Images of a folder and their embeddings, as they were when the server started.

    Attributes:
        images: one per content, in the order of their paths.
        dims: the model's, the largest first.
    """

    def __init__(self, folder: Path, index: ImageIndex, dims: tuple[int, ...]) -> None:
        self._folder, self._index, self.dims = folder, index, dims
        paths, copies = index.paths(), unique_rows(index)
        self._rows = np.array(list(copies), np.int64)
        self.images = [
            SearchedImage(
                id=index.images[paths[row]].stamp.sha256[:ID_LETTERS],
                path=paths[row],
                copies=number,
            )
            for row, number in copies.items()
        ]
        self._by_id = {each.id: each for each in self.images}
        vectors = index.rows(self._rows)
        self._codes = {dim: encode_rows(vectors, dim, "float32") for dim in dims}

    def rankings(self, query: Vector, top: int) -> dict[int, list[tuple[int, float]]]:
        """Returns the best images and their scores at each dim: places in `images`, best first.

        They are those of `edge-glass search --dim`: a product in float32 chooses twice as many
        candidates, and their cosines in float64 rank them.
        """
        found = {}
        for dim, codes in self._codes.items():
            near = np.sort(nearest_rows(codes, query[:dim], "float32", 2 * top))
            scores = self._index.scores(query, dim, self._rows[near])
            best = best_places(scores, top)
            found[dim] = [(int(near[place]), float(scores[place])) for place in best]
        return found

    def image(self, image_id: str) -> Image.Image:
        """Reads an image as upright RGB.

        Raises:
            RequestError: if no image has this id, or its file was changed or deleted.
        """
        known = self._by_id.get(image_id)
        if known is None:
            raise RequestError(404, "no image has this id; search again")
        try:
            content = (self._folder / known.path).read_bytes()
            if hashlib.sha256(content).hexdigest()[:ID_LETTERS] != image_id:
                raise RequestError(410, "this image was changed; start the server again")
            return to_rgb(decode_image(content))
        except (BadImageError, OSError):
            message = "this image is not readable any more; start the server again"
            raise RequestError(410, message) from None

    @staticmethod
    def name(image: SearchedImage) -> str:
        """Returns the path in the folder as a page can show it."""
        return shown(image.path)
