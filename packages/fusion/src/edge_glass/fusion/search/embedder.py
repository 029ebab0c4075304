"""What a search needs of a model, in torch or as an exported folder without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_glass.fusion.search.files import stamp_files

if TYPE_CHECKING:
    from edge_glass.fusion.edge.dual_encoder import EdgeDualEncoder

Vectors = NDArray[np.float32]
RUNTIMES = ("torch", "onnx")


class Embedder(Protocol):
    """Embeds images and texts.

    Attributes:
        dims: the model's Matryoshka dims, the largest first.
        batch_size: images that `embed_images` receives at once.
    """

    @property
    def dims(self) -> tuple[int, ...]: ...

    @property
    def batch_size(self) -> int: ...

    def stamp(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Describes all that an embedding depends on; `known` is an earlier result, or {}."""
        ...

    def prepare_images(self) -> None:
        """Loads what images need; called before `embed_images`, by one thread at a time."""
        ...

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Returns normalised embeddings (n, E)."""
        ...

    def embed_text(self, text: str) -> Vectors:
        """Returns a normalised embedding (E,)."""
        ...

    def num_tokens(self, text: str) -> int:
        """Returns how many tokens of a text are read."""
        ...

    def one_thread(self) -> AbstractContextManager[None]:
        """Limits each call in the block to one thread: a different number may give other bits."""
        ...


class OnnxEmbedder:
    """An exported dual encoder, see `fusion/edge`."""

    batch_size = 1

    def __init__(self, folder: Path) -> None:
        from edge_glass.fusion.edge.dual_encoder import EdgeDualEncoder

        self.folder = folder
        self.model: EdgeDualEncoder = EdgeDualEncoder(folder)
        self.dims = self.model.dims

    def stamp(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Stamps config.json and the vision graph."""
        names = ("config.json", self.model.vision_file)
        files = {name: self.folder / name for name in names}
        return {"device": "onnx", "files": stamp_files(files, known)}

    def prepare_images(self) -> None:
        """Loads the vision graph."""
        self.model.load_vision()

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        return self.model.encode_image(images)

    def embed_text(self, text: str) -> Vectors:
        vector: Vectors = self.model.encode_text([text])[0]
        return vector

    def num_tokens(self, text: str) -> int:
        return int(self.model.tokens(text)["input_ids"].shape[1])

    def one_thread(self) -> AbstractContextManager[None]:
        """Returns an empty context: the graphs run on one thread always."""
        return nullcontext()


def load_embedder(folder: Path, runtime: str) -> Embedder:
    """Loads a dual encoder for a runtime.

    Raises:
        ValueError: if the runtime is unknown or not installed, or the folder holds something else.
    """
    if runtime == "onnx":
        try:
            return OnnxEmbedder(folder)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"--runtime onnx needs the Python package {error.name}, which is not installed: "
                'python -m pip install "edge-glass-fusion[edge]"'
            ) from error
    if runtime != "torch":
        raise ValueError(f"runtime is {runtime}, expected one of {', '.join(RUNTIMES)}")
    from edge_glass.fusion.search.torch_embedder import TorchEmbedder

    return TorchEmbedder(folder)
