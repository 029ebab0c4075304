"""`params.yaml` read and checked whole, before any work starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from edge_glass.encoders.components import Component, ConfigError, component, validate
from edge_glass.training.align.config import AlignConfig
from edge_glass.training.engine.determinism import REPRODUCIBILITIES
from edge_glass.training.evaluation.answers.scores import EvaluateVlmQaConfig
from edge_glass.training.evaluation.retrieval.recall import EvaluateAlignConfig
from edge_glass.training.features.config import EncodeConfig
from edge_glass.training.prepare.dataset import DatasetConfig
from edge_glass.training.prepare.filters import PrepareConfig
from edge_glass.training.vlm_qa.config import VlmQaConfig
from edge_glass.training.vlm_qa.launch_config import LAUNCHES

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


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole configuration, with the chosen options only."""

    seed: int
    scale: str
    num_threads: int
    device: Literal["cpu", "cuda"]
    reproducibility: Literal["portable", "native"]
    launch: Component
    data_name: str
    data_folder: str
    data: DatasetConfig
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


def load_params(path: Path) -> Params:
    """Reads and checks the configuration file.

    Raises:
        ConfigError: naming the place, what was found and what is allowed.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run in the folder that holds it") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected a table, found {type(raw).__name__}")
    return parse_params(raw, where=str(path))


def parse_params(raw: Mapping[str, Any], *, where: str) -> Params:
    """Checks the plain content of a configuration file; see `load_params`."""
    scalars = {
        "seed": int, "scale": str, "num_threads": int, "device": str,
        "reproducibility": str, "launch": str, "data": str, "data_folder": str,
    }  # fmt: skip
    allowed = [*scalars, "launches", "datasets", *KINDS, *KINDS.values(), *STAGES]
    _check_keys(raw, allowed, where)
    for name, kind in {**scalars, **dict.fromkeys(KINDS, str)}.items():
        if type(raw[name]) is not kind:
            raise ConfigError(
                f"{where}: {name} is {raw[name]!r} ({type(raw[name]).__name__}), "
                f"expected {kind.__name__}"
            )
    if raw["num_threads"] < 1:
        raise ConfigError(f"{where}: num_threads is {raw['num_threads']}, expected 1 or more")
    if raw["device"] not in ("cpu", "cuda"):
        raise ConfigError(f"{where}: device is {raw['device']!r}, expected cpu or cuda")
    if raw["reproducibility"] not in REPRODUCIBILITIES:
        raise ConfigError(
            f"{where}: reproducibility is {raw['reproducibility']!r}, "
            f"expected {' or '.join(REPRODUCIBILITIES)}"
        )
    options = _pick(raw["datasets"], raw["data"], "data", f"{where}: datasets")
    data = validate(DatasetConfig, options, where=f"{where}: datasets.{raw['data']}")
    parts: dict[str, Any] = {
        kind: _choose(raw, kind, table, where) for kind, table in KINDS.items()
    }
    for stage, cls in STAGES.items():
        options = _pick(raw[stage], raw["scale"], "scale", f"{where}: {stage}")
        parts[stage] = validate(cls, options, where=f"{where}: {stage}.{raw['scale']}")
    return Params(
        seed=raw["seed"],
        scale=raw["scale"],
        num_threads=raw["num_threads"],
        device=raw["device"],
        reproducibility=raw["reproducibility"],
        launch=_choose_launch(raw, where),
        data_name=raw["data"],
        data_folder=raw["data_folder"],
        data=data,
        **parts,
    )


def _check_keys(raw: Mapping[str, Any], allowed: list[str], where: str) -> None:
    unknown = sorted(set(raw) - set(allowed))
    if unknown:
        raise ConfigError(f"{where}: unknown {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    missing = [name for name in allowed if name not in raw]
    if missing:
        raise ConfigError(f"{where}: {', '.join(missing)} missing; add it")


def _pick(table: Any, name: str, what: str, where: str) -> Mapping[str, Any]:
    if not isinstance(table, Mapping) or name not in table:
        known = ", ".join(map(str, table)) if isinstance(table, Mapping) else repr(table)
        raise ConfigError(f"{where}: {what} is {name!r}, which is not there; choose one of {known}")
    options: Mapping[str, Any] = table[name]
    return options


def _choose_launch(raw: Mapping[str, Any], where: str) -> Component:
    """Checks every way to launch, and returns the chosen one."""
    _pick(raw["launches"], raw["launch"], "launch", f"{where}: launches")
    configs = {}
    for name, each in raw["launches"].items():
        if name not in LAUNCHES:
            raise ConfigError(
                f"{where}: launches.{name} is not known; known: {', '.join(LAUNCHES)}"
            )
        configs[name] = validate(LAUNCHES[name], each, where=f"{where}: launches.{name}")
    return Component(name=raw["launch"], config=configs[raw["launch"]])


def _choose(raw: Mapping[str, Any], kind: str, table: str, where: str) -> Component:
    """Checks every option table of a kind, and returns the chosen one."""
    options = _pick(raw[table], raw[kind], kind, f"{where}: {table}")
    for name, each in raw[table].items():
        component(kind, name, each, where=f"{where}: {table}.{name}")
    config = component(kind, raw[kind], options, where=f"{where}: {table}.{raw[kind]}")
    return Component(name=raw[kind], config=config)
