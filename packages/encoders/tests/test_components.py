"""Names and options: what is allowed, and what the errors name."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Literal

import pytest

from edge_glass.encoders.attention_pooling import AttentionPoolingConfig
from edge_glass.encoders.components import Component, ConfigError, as_options, component, validate


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 1


@dataclass(frozen=True, kw_only=True)
class Example:
    dims: tuple[int, ...]
    rate: float = 1.0
    inner: Inner | None = None
    union: Literal["none", "mean"] | int = "none"


def test_lists_become_tuples_and_whole_numbers_floats() -> None:
    assert validate(Example, {"dims": [4, 2], "rate": 1}, where="x") == Example(dims=(4, 2))
    nested = validate(Example, {"dims": [], "inner": {"size": 3}}, where="x")
    assert nested == Example(dims=(), inner=Inner(size=3))


def test_a_component_by_name_is_saved_with_all_its_options() -> None:
    config = component("pooling", "attention", {"num_heads": 2}, where="here")
    assert config == AttentionPoolingConfig(num_heads=2)
    saved = Component(name="attention", config=config).saved()
    assert saved == {"name": "attention", "options": as_options(config)}
    assert saved["options"]["num_queries"] == 4  # a default
    again = json.loads(json.dumps(saved))
    assert component("pooling", again["name"], again["options"], where="here") == config


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"pooling is 'atention'.*attention, mean, perceiver"):
        component("pooling", "atention", {}, where="params.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": ["4"]}, "here: dims.0 is '4', expected a whole number, without the quotes"),
        ({"dims": [4], "rate": "fast"}, "here: rate is 'fast', expected a number$"),
        ({}, "here: dims missing; add it"),
        ([1], r"here: expected a table of options, found \[1\]"),
        (None, "here: expected a table of options, found null"),
        (
            {"dims": [], "heads": 2},
            "here: unknown field 'heads'; allowed are dims, rate, inner, union",
        ),
        ({"dims": [], 1: 2, "x": 3}, "here: unknown field 'x', 1; allowed"),
        (
            {"dims": [], "inner": {"sise": 2}},
            r"here.inner: unknown field 'sise' \(did you mean size\?\); allowed are size",
        ),
        ({"dims": [], "rate": float("nan")}, "here: rate is nan, expected a finite number$"),
        (
            {"dims": [], "union": 1.5},
            "here: union is 1.5, expected none or mean or a whole number$",
        ),
        ({"dims": [], "union": "5e-05"}, "here: union is '5e-05', expected .*, without the quotes"),
        ({"dims": [], "inner": 3}, "here: inner is 3, expected a table of options$"),
        ({"dims": 3}, "here: dims is 3, expected a list$"),
        ({"dims": [1], "rate": "x" * 999}, r"here: rate is 'x+\.\.\., expected a number$"),
        ({"dims": [datetime.date(2020, 1, 1)]}, "here: expected what JSON can hold .*date"),
    ],
)
def test_mistakes_are_named(options: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Example, options, where="here")


def test_a_value_that_the_class_refuses_is_named() -> None:
    with pytest.raises(ConfigError, match=r"poolings\.attention: .*num_queries is 0"):
        component("pooling", "attention", {"num_queries": 0}, where="p: poolings.attention")
