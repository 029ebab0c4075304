"""Names and options: what is allowed, and what the errors say."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edge_glass.encoders.components import ConfigError, as_options, component, validate
from edge_glass.fusion.gated import GatedConfig


@dataclass(frozen=True, kw_only=True)
class Example:
    dims: tuple[int, ...]
    rate: float = 1.0


def test_lists_become_tuples_and_whole_numbers_floats() -> None:
    assert validate(Example, {"dims": [4, 2], "rate": 1}, where="x") == Example(dims=(4, 2))


def test_component_by_name() -> None:
    config = component("fusion", "gated", {"num_heads": 2}, where="here")
    assert config == GatedConfig(num_heads=2)
    assert as_options(config) == {"num_heads": 2, "gate_init": 0.0, "dropout": 0.0}


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"fusion is 'gatd'.*concat, cross_attention, gated"):
        component("fusion", "gatd", {}, where="params.yaml")


def test_unknown_field_names_place_and_allowed() -> None:
    with pytest.raises(
        ConfigError, match=r"fusions\.gated: unknown field 'heads'; allowed are num_"
    ):
        component("fusion", "gated", {"heads": 2}, where="params.yaml: fusions.gated")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": ["4"]}, "dims.0: .*found '4'"),
        ({"dims": [4], "rate": "fast"}, "rate: .*found 'fast'"),
        ({}, "dims: .*required"),
        ([1], "expected a table"),
    ],
)
def test_wrong_types_are_refused(options: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Example, options, where="here")  # type: ignore[arg-type]
