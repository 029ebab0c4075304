"""A dual encoder in torch, as a search uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from edge_glass.encoders.device import place_model
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.edge.config import refuse_exported
from edge_glass.fusion.search.files import model_stamp
from edge_glass.fusion.search.index import Vector

_GPU_BATCH = 16


class TorchEmbedder:
    """A dual encoder, on the GPU if there is one; each frozen encoder is built when needed."""

    def __init__(self, folder: Path, model: DualEncoder | None = None) -> None:
        """Loads the model of a folder, or takes the one that was loaded from it."""
        refuse_exported(folder)
        self.folder = folder
        self.model = model or DualEncoder.from_pretrained(folder, load_encoders=False)
        if model is None:
            place_model(self.model)
        self.dims = self.model.config.matryoshka_dims
        self.batch_size = 1 if self._device == "cpu" else _GPU_BATCH

    def stamp(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Stamps the checkpoint and the frozen vision encoder."""
        return model_stamp(self.folder, self.model.config, self._device, known)

    def prepare_images(self) -> None:
        """Builds the frozen vision encoder."""
        self.model.add_encoders(vision=True)

    def embed_images(self, images: Sequence[Image.Image]) -> Vector:
        self.prepare_images()
        size = None if self._device == "cpu" else _GPU_BATCH
        vectors: Vector = self.model.encode_image(images, batch_size=size).numpy()
        return vectors

    def embed_text(self, text: str) -> Vector:
        self.model.add_encoders(text=True)
        vector: Vector = self.model.encode_text([text])[0].numpy()
        return vector

    def num_tokens(self, text: str) -> int:
        self.model.add_encoders(text=True)
        assert self.model.text is not None
        return self.model.text.num_tokens(text)

    def one_thread(self) -> AbstractContextManager[None]:
        """Limits torch to one thread in the block."""
        return one_torch_thread()

    @property
    def _device(self) -> str:
        return self.model.logit_scale.device.type


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Limits torch to one thread in the block, because a different number may give other bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
