"""Questions about an image file with an exported model, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_glass.fusion.app.image_file import read_image


def ask_exported(path: Path, questions: Sequence[str], folder: Path) -> Iterator[list[str]]:
    """Yields the answers to questions about an image, each as a list of one piece.

    Raises:
        ValueError: if the folder holds no exported model, or onnxruntime is not installed.
    """
    try:
        from edge_glass.fusion.edge.vlm import EdgeVlm
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--runtime onnx needs the Python package {error.name}, which is not installed: "
            'python -m pip install "edge-glass-fusion[edge]"'
        ) from error
    image = read_image(path)
    answers = EdgeVlm(folder).answer([image] * len(questions), questions)
    yield from ([answer] for answer in answers)
