"""An exported dual encoder: images and texts to embeddings, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_glass.fusion.edge.config import AGAIN, DUAL_ENCODER, GraphError
from edge_glass.fusion.edge.folder import ExportedFolder, Graph, normalised

Embeddings = NDArray[np.float32]


class EdgeDualEncoder:
    """Embeds images and texts; each graph is loaded when it is first needed.

    Images and texts run one by one, so an embedding has the same bits alone and among others.
    """

    def __init__(self, folder: str | Path, *, precision: str | None = None) -> None:
        """Opens a folder that `edge-glass export onnx` wrote; see `ExportedFolder`."""
        self.folder = ExportedFolder(Path(folder), kind=DUAL_ENCODER, precision=precision)
        config = self.folder.config
        self.dims: tuple[int, ...] = tuple(config["matryoshka_dims"])
        self.transform = self.folder.transform()
        self.max_tokens: int = config["text"]["max_tokens"]

    def encode_image(
        self, images: Sequence[Image.Image], *, truncate_dim: int | None = None
    ) -> Embeddings:
        """Embeds images (n, d): the first `truncate_dim` numbers, normalised.

        Raises:
            ValueError: if the dim is out of range, or (`BadImageError`) an image can't be shown as
                RGB.
        """
        self._check_dim(truncate_dim)
        rows = [
            self._vision({"pixel_values": self.transform.pixels(image)[None]})["image_embeds"]
            for image in images
        ]
        return self._cut(rows, truncate_dim)

    def encode_text(self, texts: Sequence[str], *, truncate_dim: int | None = None) -> Embeddings:
        """Embeds texts (n, d); longer ones are cut to `max_tokens`."""
        self._check_dim(truncate_dim)
        rows = [self._text(self.tokens(text))["text_embeds"] for text in texts]
        return self._cut(rows, truncate_dim)

    def tokens(self, text: str) -> dict[str, NDArray[np.int64]]:
        """Returns the inputs of the text graph for one text, (1, T) each."""
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    @property
    def vision_file(self) -> str:
        """The file of the vision graph in the folder."""
        name: str = self.folder.config["graphs"][self.folder.precision]["vision_model"]
        return name

    def load_vision(self) -> None:
        """Loads the vision graph, unless it is loaded."""
        _ = self._vision

    def _check_dim(self, dim: int | None) -> None:
        if dim is not None and not 1 <= dim <= self.dims[0]:
            raise ValueError(
                f"truncate_dim is {dim}, expected 1 to {self.dims[0]}; the model was trained at "
                f"{list(self.dims)}"
            )

    def _cut(self, rows: list[Embeddings], dim: int | None) -> Embeddings:
        if not rows:
            return np.empty((0, dim or self.dims[0]), np.float32)
        found = np.concatenate(rows)
        if found.shape[1] != self.dims[0]:
            raise GraphError(
                f"{self.folder.path} gives embeddings of {found.shape[1]} numbers, but its "
                f"config.json has {self.dims[0]}; {AGAIN}"
            )
        return normalised(found[:, :dim])

    @cached_property
    def _vision(self) -> Graph:
        return self.folder.graph("vision_model")

    @cached_property
    def _text(self) -> Graph:
        return self.folder.graph("text_model")

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = self.folder.tokenizer()
        tokenizer.enable_truncation(self.max_tokens)
        return tokenizer
