"""config.json of an exported model: each value that is read, checked before a graph is loaded.

Written without pydantic, which a device that only runs exported models does not need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

FORMAT = "edge-glass-onnx/1"
DUAL_ENCODER, VLM = "dual_encoder", "vision_language_model"
CONFIG_FILE = "config.json"
AGAIN = "export the model again"


class GraphError(ValueError):
    """An exported graph that is broken or does not fit the others; the message has its path."""


Check = Callable[[Any], bool]


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number of at least 0; False and 0.0 are not."""
    return type(value) is int and value >= 0


def is_count(value: Any) -> bool:
    """Whether a value is a whole number of at least 1."""
    return is_whole(value) and value >= 1


def is_text(value: Any) -> bool:
    """Whether a value is a text that UTF-8 can hold: JSON can have half of a character."""
    return isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value)


def is_descending(value: Any) -> bool:
    """Whether a value is a list of counts that strictly descend."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(map(is_count, value))
        and all(first > second for first, second in pairwise(value))
    )


def is_ids(value: Any) -> bool:
    """Whether a value is a list of numbers of words."""
    return isinstance(value, list) and all(type(each) is int for each in value)


# What is read of each kind, by its place: the check, and what it expects.
FIELDS: dict[str, dict[str, tuple[Check, str]]] = {
    DUAL_ENCODER: {
        "matryoshka_dims": (is_descending, "a list of dims that strictly descend"),
        "text.max_tokens": (
            lambda value: is_count(value) and value < 2**31,
            "a whole number from 1 to 2147483647",
        ),
    },
    VLM: {
        "num_prefix_positions": (is_whole, "a whole number of at least 0"),
        "max_positions": (
            lambda value: value is None or is_count(value),
            "a whole number of at least 1, or null",
        ),
        "text.strip": (lambda value: isinstance(value, bool), "true or false"),
        "text.before_question": (is_text, "a text"),
        "text.after_question": (is_text, "a text"),
        "text.stop_ids": (is_ids, "a list of whole numbers"),
        "text.max_new_tokens": (is_count, "a whole number of at least 1"),
        "text.cache_axis": (is_whole, "a whole number of at least 0"),
    },
}
# The graphs of each kind, with one input and one output that tell them apart; "" stands for any.
GRAPHS: dict[str, dict[str, tuple[str, str]]] = {
    DUAL_ENCODER: {
        "vision_model": ("pixel_values", "image_embeds"),
        "text_model": ("input_ids", "text_embeds"),
    },
    VLM: {
        "vision": ("pixel_values", "features"),
        "prefix": ("features", ""),
        "prefill": ("input_ids", "logits"),
        "decode": ("input_ids", "logits"),
    },
}


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """Reads config.json of an exported model.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not the config of an exported model of this kind, or a value is missing
            or wrong; names the file, the value, and what is expected.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give a folder that `edge-glass export onnx` wrote"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or a number too long
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is broken ({reason}); {AGAIN}") from error
    found = config.get("format") if isinstance(config, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path}: format is {_shown(found)}, expected {FORMAT!r}; write the folder with "
            "`edge-glass export onnx MODEL FOLDER`"
        )
    if config.get("kind") != kind:
        raise ValueError(
            f"{path}: kind is {_shown(config.get('kind'))}, expected {kind!r}; give the folder "
            "that `edge-glass export onnx` wrote for that model"
        )
    for place, (check, expected) in FIELDS[kind].items():
        _check(config, place, check, expected, path)
    _check(config, "graphs", lambda value: isinstance(value, Mapping), "a table", path)
    for precision in config["graphs"]:
        for name in GRAPHS[kind]:
            _check(config, f"graphs.{precision}.{name}", is_text, "the name of a file", path)
    return dict(config)


def refuse_exported(folder: Path) -> None:
    """Refuses an exported folder in the place of a model in torch, and names the option for it.

    Raises:
        ValueError: if config.json is that of an exported model.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # what reads the model names the fault
    if isinstance(config, dict) and config.get("format") == FORMAT:
        raise ValueError(f"{folder} holds an exported model; run it with --runtime onnx")


def _check(config: Any, place: str, check: Check, expected: str, path: Path) -> None:
    value = config
    for name in place.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise ValueError(f"{path}: {place} is missing, expected {expected}; {AGAIN}")
        value = value[name]
    if not check(value):
        raise ValueError(f"{path}: {place} is {_shown(value)}, expected {expected}; {AGAIN}")


def _shown(value: Any) -> str:
    return repr(value)[:80]
