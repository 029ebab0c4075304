"""`params.yaml`: valid with every choice that it offers, and true to the dimensions it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_glass.training.params import KINDS, parse_params

RAW: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, table in KINDS.items() for name in RAW[table]]
)
def test_every_choice_is_valid(kind: str, name: str) -> None:
    chosen = getattr(parse_params({**RAW, kind: name}, where="params.yaml"), kind)
    assert chosen.name == name


def test_every_scale_is_whole() -> None:
    for scale in RAW["prepare"]:
        assert parse_params({**RAW, "scale": scale}, where="params.yaml").scale == scale


def test_names_are_legal_in_templates() -> None:
    for table in KINDS.values():
        assert all(name.replace("_", "").isalnum() for name in RAW[table])
