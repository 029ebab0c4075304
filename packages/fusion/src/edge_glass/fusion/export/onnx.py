"""The format `onnx`: graphs for ONNX Runtime, each compared with the model in torch.

    edge-glass export onnx models/align OUT
    edge-glass export onnx models/vlm_qa OUT

`parity.json` in the folder has the figures of the comparison, per precision, and the limits.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    values, _ = load_checkpoint(model)
    report: dict[str, Any]
    if values.get("model") == DUAL_ENCODER:
        captioned = captioned_images(data)
        dual = DualEncoder.from_pretrained(model)
        onnx_dual_encoder.write_graphs(dual, folder / GRAPHS)
        _quantise(folder / GRAPHS, onnx_dual_encoder.NAMES, precisions)
        onnx_dual_encoder.write_data(dual, folder, precisions)
        report = onnx_dual_encoder.compare(dual, folder, precisions, captioned)
    else:
        asked = asked_images(data)
        vlm = VisionLanguageModel.from_pretrained(model)
        onnx_vlm.write_graphs(vlm, folder / GRAPHS)
        _quantise(folder / GRAPHS, onnx_vlm.NAMES, precisions)
        onnx_vlm.write_data(vlm, folder, precisions)
        report = onnx_vlm.compare(vlm, folder, precisions, asked)
    limits = {precision: LIMITS[precision] for precision in precisions}
    write_json(folder / PARITY_FILE, rounded({**report, "limits": limits}, 7))


def _quantise(folder: Path, names: Sequence[str], precisions: Sequence[str]) -> None:
    for name in names:
        source, target = folder / f"{name}.onnx", folder / f"{name}_int8.onnx"
        if "int8" in precisions:
            quantize_weights(source, target)
        if "fp32" not in precisions:
            source.unlink()
