"""The format `onnx`: graphs for ONNX Runtime, each compared with the model in torch.

    edge-glass export onnx models/align OUT
    edge-glass export onnx models/vlm_qa OUT

`parity.json` in the folder has the figures of the comparison, per precision, and the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_glass.encoders.checkpoint import load_checkpoint
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import MODEL as DUAL_ENCODER
from edge_glass.encoders.files import rounded, write_json
from edge_glass.fusion.export import onnx_dual_encoder, onnx_vlm
from edge_glass.fusion.export.formats import PRECISIONS
from edge_glass.fusion.export.held_out import asked_images, captioned_images
from edge_glass.fusion.export.onnx_graph import quantize_weights
from edge_glass.fusion.export.parity import LIMITS
from edge_glass.fusion.vlm import VisionLanguageModel

GRAPHS, PARITY_FILE = "onnx", "parity.json"
Model = DualEncoder | VisionLanguageModel


def write_folder(model: Path, folder: Path, *, data: Path, precisions: Sequence[str]) -> None:
    """Writes the graphs of a model, and compares them with the model in torch.

    Args:
        model: folder of a dual encoder or a vision-language model.
        folder: an empty folder.
        data: folder of the prepared data, whose validation splits the graphs are compared on.
        precisions: `fp32` and `int8`, or one of them.

    Raises:
        ParityError: if a graph differs by more than the limits.
        ValueError: if the folder holds no model, or one that the format can't express.
    """
    unknown = [each for each in precisions if each not in PRECISIONS]
    if unknown:
        raise ValueError(f"precision is {', '.join(unknown)}, expected fp32 or int8")

    def write(kind: Any, loaded: Model) -> None:
        kind.write_graphs(loaded, folder / GRAPHS)
        _quantise(folder / GRAPHS, kind.NAMES, precisions)
        kind.write_data(loaded, folder, precisions)

    write_compared(model, folder, data=data, precisions=precisions, write=write)


def write_compared(
    model: Path,
    folder: Path,
    *,
    data: Path,
    precisions: Sequence[str],
    write: Callable[[Any, Model], None],
) -> None:
    """Loads a model, calls `write`, and compares what it wrote with the model in torch.

    `write` receives the module of this kind of model, `onnx_dual_encoder` or `onnx_vlm`, and the
    loaded model. The other arguments, and the errors, are those of `write_folder`.
    """
    values, _ = load_checkpoint(model)
    if values.get("model") == DUAL_ENCODER:
        kind: Any = onnx_dual_encoder
        held_out: Any = captioned_images(data)
        loaded: Model = DualEncoder.from_pretrained(model)
    else:
        kind, held_out = onnx_vlm, asked_images(data)
        loaded = VisionLanguageModel.from_pretrained(model)
    write(kind, loaded)
    report = kind.compare(loaded, folder, precisions, held_out)
    limits = {precision: LIMITS[precision] for precision in precisions}
    write_json(folder / PARITY_FILE, rounded({**report, "limits": limits}, 7))


def _quantise(folder: Path, names: Sequence[str], precisions: Sequence[str]) -> None:
    for name in names:
        source, target = folder / f"{name}.onnx", folder / f"{name}_int8.onnx"
        if "int8" in precisions:
            quantize_weights(source, target)
        if "fp32" not in precisions:
            source.unlink()
