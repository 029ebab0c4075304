"""`params.yaml`: valid with every choice that it offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_glass.training.params import KINDS, parse_params
from edge_glass.training.runtime.yaml_file import read_yaml

RAW: dict[str, Any] = read_yaml(Path(__file__).parents[1] / "params.yaml")
WAITING = {"causal_lm", "sentence_transformer", "timm_vision", "transformers_vision"}
# CLIP takes images of a multiple of 14 pixels, EfficientNet of a multiple of 32
SCALES = {"clip_vit_l14_336": "paper"}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, table in KINDS.items() for name in RAW[table]]
)
def test_every_choice_is_valid(kind: str, name: str) -> None:
    scale = SCALES.get(name, RAW["scale"])
    if name in WAITING:
        with pytest.raises(ValueError, match=rf"{kind}s\.{name}: model (and config are|is) null"):
            parse_params({**RAW, kind: name}, where="params.yaml")
        return
    chosen = getattr(parse_params({**RAW, kind: name, "scale": scale}, where="params.yaml"), kind)
    assert chosen.name == name


def test_every_scale_is_valid() -> None:
    for scale in RAW["prepare"]:
        encoders = {value: key for key, value in SCALES.items()}
        choice = {"vision_encoder": encoders.get(scale, RAW["vision_encoder"])}
        assert parse_params({**RAW, "scale": scale, **choice}, where="params.yaml").scale == scale


def test_names_are_legal_in_templates() -> None:
    for table in KINDS.values():
        assert all(name.replace("_", "").isalnum() for name in RAW[table])
