"""The format `executorch`: programs for ExecuTorch, with XNNPACK, each compared with torch.

    edge-glass export executorch models/align OUT
    edge-glass export executorch models/vlm_qa OUT

The folder is that of the format `onnx`, with `executorch/*.pte` in the place of the graphs, in
float32. `parity.json` has the figures of the comparison and the limits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edge_glass.encoders.checkpoint import load_checkpoint
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import MODEL as DUAL_ENCODER
from edge_glass.encoders.files import rounded, write_json
from edge_glass.fusion.edge.config import CONFIG_FILE
from edge_glass.fusion.export import onnx_dual_encoder, onnx_vlm
from edge_glass.fusion.export.growing_cache import max_positions
from edge_glass.fusion.export.held_out import asked_images, captioned_images
from edge_glass.fusion.export.onnx import PARITY_FILE
from edge_glass.fusion.export.onnx_dual_encoder import text_encoder, write_config
from edge_glass.fusion.export.parity import LIMITS
from edge_glass.fusion.vlm import VisionLanguageModel

PROGRAMS, PRECISION = "executorch", "fp32"
MOST_POSITIONS = 512  # of a prompt and its answer; memory for scores grows with their square


def write_folder(model: Path, folder: Path, *, data: Path, precisions: Sequence[str]) -> None:
    """Writes the programs of a model, and compares them with the model in torch.

    Args:
        model: folder of a dual encoder or a vision-language model.
        folder: an empty folder.
        data: folder of the prepared data, whose validation splits the programs are compared on.
        precisions: `fp32`, the only one.

    Raises:
        ParityError: if a program differs by more than the limits.
        ValueError: if the folder holds no model, or one that the format can't express.
    """
    from edge_glass.fusion.export.executorch_program import write_program  # needs ExecuTorch

    if list(precisions) != [PRECISION]:
        raise ValueError(
            f"precision is {', '.join(precisions)}, expected {PRECISION}, the only one that the "
            "format executorch has"
        )
    values, _ = load_checkpoint(model)
    report: dict[str, Any]
    if values.get("model") == DUAL_ENCODER:
        captioned = captioned_images(data)
        dual = DualEncoder.from_pretrained(model)
        limits = {"tokens": text_encoder(dual).max_tokens}
        write = partial(write_program, limits=limits)
        onnx_dual_encoder.write_graphs(dual, folder / PROGRAMS, write)
        onnx_dual_encoder.write_data(dual, folder, precisions)
        _name_programs(folder / CONFIG_FILE)
        report = onnx_dual_encoder.compare(dual, folder, precisions, captioned)
    else:
        asked = asked_images(data)
        vlm = VisionLanguageModel.from_pretrained(model)
        most = min(max_positions(vlm.decoder) or MOST_POSITIONS, MOST_POSITIONS)
        write = partial(write_program, limits={"tokens": most, "past": most - 1})
        onnx_vlm.write_graphs(vlm, folder / PROGRAMS, write)
        onnx_vlm.write_data(vlm, folder, precisions)
        _name_programs(folder / CONFIG_FILE, max_positions=most)
        report = onnx_vlm.compare(vlm, folder, precisions, asked)
    write_json(
        folder / PARITY_FILE, rounded({**report, "limits": {PRECISION: LIMITS[PRECISION]}}, 7)
    )


def _name_programs(path: Path, **changes: int) -> None:
    """Puts the programs into config.json in the place of the graphs."""
    config = json.loads(path.read_text(encoding="utf-8"))
    graphs = config["graphs"][PRECISION]
    config["graphs"] = {PRECISION: {name: f"{PROGRAMS}/{name}.pte" for name in graphs}}
    write_config(path, {**config, **changes})
