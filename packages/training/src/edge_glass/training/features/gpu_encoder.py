"""A frozen vision encoder on a GPU: images as bytes in, features on the CPU out, one batch behind.

The kernels of a full batch are recorded once as a CUDA graph, and replayed: starting a thousand
kernels one by one takes as long as they run, because the threads that decode images need Python's
lock as well. The numbers are those of the same kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_glass.encoders.base import VisionEncoder


class GpuEncoder:
    """Encodes batches; a call starts one, and what it returns waits for the features.

    Args:
        encoder: on a GPU.
        batch_size: of a full batch; smaller ones are not replayed.
        dtype: to which features are rounded.
    """

    def __init__(self, encoder: VisionEncoder, batch_size: int, dtype: torch.dtype) -> None:
        self.encoder, self.batch_size, self.dtype = encoder, batch_size, dtype
        self.device = next(encoder.parameters()).device
        self._normalize = encoder.transform.normalizer(self.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._input = self._output = torch.empty(0)

    def start(self, images: list[Tensor]) -> Callable[[], NDArray[Any]]:
        """Starts a batch of squares (H, W, 3) in bytes, or of pixels (3, H, W).

        Returns what waits for the features (n, P, D).
        """
        first = images[0]
        pinned = torch.empty(len(images), *first.shape, dtype=first.dtype, pin_memory=True)
        torch.stack(images, out=pinned)
        if len(images) == self.batch_size and self.encoder.can_be_recorded:
            if self._graph is None:
                self._record(pinned.to(self.device))
            self._input.copy_(pinned, non_blocking=True)
            assert self._graph is not None
            self._graph.replay()
            features = self._output
        else:
            features = self._encode(pinned.to(self.device, non_blocking=True))
        copied = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
        copied.copy_(features, non_blocking=True)
        done = torch.cuda.current_stream(self.device).record_event()

        def wait() -> NDArray[Any]:
            done.synchronize()
            found: NDArray[Any] = copied.numpy()
            return found

        return wait

    def _encode(self, batch: Tensor) -> Tensor:
        if batch.dtype == torch.uint8:
            batch = self._normalize(batch)
        return self.encoder.encode(batch).to(self.dtype)

    def _record(self, batch: Tensor) -> None:
        self._input = batch
        # libraries allocate when they first run, which can't be recorded
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            self._encode(batch)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # other threads may use the GPU meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._output = self._encode(self._input)
        self._graph = graph
