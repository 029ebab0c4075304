"""No value in `params.yaml` ends in a traceback: it is accepted, or refused in one line."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_glass.encoders.components import ConfigError
from edge_glass.training.params import Params, parse_params
from edge_glass.training.runtime.yaml_file import read_yaml

RAW = read_yaml(Path(__file__).parents[3] / "params.yaml")
BAD: tuple[Any, ...] = (
    *(None, "", "x", "5e-05", "\0", -1, 0, True, 10**12, 10**300),
    *(float("nan"), float("inf"), 1e12, [], {}, [[]], {"x": 1}),
)
CHOICES: tuple[dict[str, Any], ...] = (
    {},
    {"pooling": "perceiver", "fusion": "gated", "decoder": "qwen2_5_tiny"},
    {"fusion": "cross_attention", "launch": "ddp"},
)
SAMPLES = 700


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every table, list and plain value."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, each in items:
        yield from leaves(each, (*path, key))


def replaced(raw: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(raw)
    table = changed
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    return changed


def accepts(raw: dict[str, Any]) -> bool:
    """Whether a configuration is accepted; anything but a short `ConfigError` fails the test."""
    try:
        assert isinstance(parse_params(raw, where="p"), Params)
    except ConfigError as error:
        message = str(error)
        assert message.startswith("p: ")
        assert message.count("\n") == 0
        assert len(message) < 900
        assert not any(word in message for word in ("literal[", "tuple[", "NoneType", "pydantic"))
        return False
    return True


def test_bad_values_are_refused_or_accepted_and_nothing_else() -> None:
    draw = random.Random(0)
    cases = [(path, value) for path in leaves(RAW) for value in BAD]
    start, accepted = time.monotonic(), 0
    for path, value in draw.sample(cases, SAMPLES):
        raw = replaced({**RAW, **draw.choice(CHOICES)}, path, value)
        try:
            accepted += accepts(raw)
        except Exception as error:
            raise AssertionError(f"{'.'.join(map(str, path))}: {value!r}") from error
    assert 0 < accepted < SAMPLES / 4
    assert time.monotonic() - start < 60
