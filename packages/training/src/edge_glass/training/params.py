"""The whole of `params.yaml`, read and validated before any work starts.

A stage gets its sections from here. This file names which class holds which section; how a value is
read lies in `runtime/yaml_file.py` and `runtime/sections.py`, which all stages depend on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_glass.encoders.components import Component, ConfigError
from edge_glass.encoders.device import DEVICES
from edge_glass.training.align.config import AlignConfig
from edge_glass.training.consistency import check_consistency
from edge_glass.training.engine.determinism import REPRODUCIBILITIES
from edge_glass.training.evaluation.alignment.config import EvaluateAlignConfig
from edge_glass.training.evaluation.answers.scores import EvaluateVlmQaConfig
from edge_glass.training.features.config import EncodeConfig
from edge_glass.training.loop.trackers import LOG_WITH, check_trackers
from edge_glass.training.prepare.dataset import DatasetConfig
from edge_glass.training.prepare.filters import PrepareConfig
from edge_glass.training.runtime.sections import (
    check_keys,
    check_types,
    choose_component,
    choose_dataset,
    choose_launch,
    section,
)
from edge_glass.training.runtime.yaml_file import read_yaml
from edge_glass.training.vlm_qa.config import VlmQaConfig
from edge_glass.training.vlm_qa.launch_config import LAUNCH_CONFIGS

STAGES: dict[str, type[Any]] = {
    "prepare": PrepareConfig,
    "encode": EncodeConfig,
    "align": AlignConfig,
    "evaluate_align": EvaluateAlignConfig,
    "vlm_qa": VlmQaConfig,
    "evaluate_vlm_qa": EvaluateVlmQaConfig,
}
KINDS = {
    "vision_encoder": "vision_encoders",
    "text_encoder": "text_encoders",
    "pooling": "poolings",
    "fusion": "fusions",
    "decoder": "decoders",
}
SCALARS: dict[str, type[Any]] = {
    "seed": int, "scale": str, "num_threads": int, "device": str,
    "reproducibility": str, "launch": str, "data": str, "data_folder": str, "features": str,
}  # fmt: skip
FEATURES = ("cache", "live")

# torch and NumPy take seeds of 32 bits; far more threads than cores crash torch
RANGES = {"seed": (0, 2**32 - 1), "num_threads": (1, 1024)}


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole configuration, with the chosen options only.

    Attributes:
        raw: the content of the file, for what depends on values as they were written.
    """

    seed: int
    scale: str
    num_threads: int
    device: str
    reproducibility: Literal["portable", "native"]
    launch: Component
    log_with: tuple[str, ...]
    data_name: str
    data_folder: str
    data: DatasetConfig
    features: Literal["cache", "live"]
    vision_encoder: Component
    text_encoder: Component
    pooling: Component
    fusion: Component
    decoder: Component
    prepare: PrepareConfig
    encode: EncodeConfig
    align: AlignConfig
    evaluate_align: EvaluateAlignConfig
    vlm_qa: VlmQaConfig
    evaluate_vlm_qa: EvaluateVlmQaConfig
    raw: Mapping[str, Any] = field(repr=False)


def load_params(path: Path) -> Params:
    """Reads and validates the configuration file."""
    return parse_params(read_yaml(path), where=str(path))


def parse_params(raw: Mapping[str, Any], *, where: str) -> Params:
    """Validates the plain content of a configuration file; see `load_params`."""
    check_keys(
        raw, [*SCALARS, LOG_WITH, "launches", "datasets", *KINDS, *KINDS.values(), *STAGES], where
    )
    check_types(raw, {**SCALARS, **dict.fromkeys(KINDS, str)}, where)
    _check_scalars(raw, where)
    parts: dict[str, Any] = {
        **{kind: choose_component(raw, kind, table, where) for kind, table in KINDS.items()},
        **{stage: section(raw, stage, config, where) for stage, config in STAGES.items()},
    }
    params = Params(
        seed=raw["seed"],
        scale=raw["scale"],
        num_threads=raw["num_threads"],
        device=raw["device"],
        reproducibility=raw["reproducibility"],
        launch=choose_launch(raw, LAUNCH_CONFIGS, where),
        log_with=check_trackers(raw[LOG_WITH], where),
        data_name=raw["data"],
        data_folder=raw["data_folder"],
        data=choose_dataset(raw, DatasetConfig, where),
        features=raw["features"],
        raw=raw,
        **parts,
    )
    check_consistency(params, where)
    return params


def _check_scalars(raw: Mapping[str, Any], where: str) -> None:
    for name, (least, most) in RANGES.items():
        if not least <= raw[name] <= most:
            raise ConfigError(f"{where}: {name} is {raw[name]}, expected {least} to {most}")
    if not raw["data_folder"] or "\0" in raw["data_folder"]:
        raise ConfigError(f"{where}: data_folder is {raw['data_folder']!r}, expected a path")
    if not re.fullmatch(DEVICES, raw["device"]):
        raise ConfigError(
            f"{where}: device is {raw['device']!r}, expected cpu, cuda or one GPU by its number, "
            "such as cuda:1"
        )
    if raw["features"] not in FEATURES:
        raise ConfigError(
            f"{where}: features is {raw['features']!r}, expected {' or '.join(FEATURES)}"
        )
    if raw["reproducibility"] not in REPRODUCIBILITIES:
        raise ConfigError(
            f"{where}: reproducibility is {raw['reproducibility']!r}, "
            f"expected {' or '.join(REPRODUCIBILITIES)}"
        )
