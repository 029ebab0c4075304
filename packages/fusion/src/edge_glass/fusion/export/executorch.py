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

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.edge.config import CONFIG_FILE
from edge_glass.fusion.export.growing_cache import max_positions
from edge_glass.fusion.export.onnx import Model, write_compared
from edge_glass.fusion.export.onnx_dual_encoder import text_encoder, write_config

PROGRAMS, PRECISION = "executorch", "fp32"
MOST_POSITIONS = 512  # of a prompt and its answer; memory for scores grows with their square


def write_folder(model: Path, folder: Path, *, data: Path, precisions: Sequence[str]) -> None:
    """Writes the programs of a model, and compares them with the model in torch.

    The arguments are those of the format `onnx`; `precisions` can only be `fp32`.

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

    def write(kind: Any, loaded: Model) -> None:
        changes: dict[str, int] = {}
        if isinstance(loaded, DualEncoder):
            limits = {"tokens": text_encoder(loaded).max_tokens}
        else:
            most = min(max_positions(loaded.decoder) or MOST_POSITIONS, MOST_POSITIONS)
            limits, changes = {"tokens": most, "past": most - 1}, {"max_positions": most}
        kind.write_graphs(loaded, folder / PROGRAMS, partial(write_program, limits=limits))
        kind.write_data(loaded, folder, precisions)
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        programs = {name: f"{PROGRAMS}/{name}.pte" for name in kind.NAMES}
        write_config(folder / CONFIG_FILE, {**config, "graphs": {PRECISION: programs}, **changes})

    write_compared(model, folder, data=data, precisions=precisions, write=write)
