"""config.json of an exported model: any value that is missing or wrong is one line with its place.

Every place is deleted and replaced, so that a value that is read without a check fails here.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime")

from edge_glass.encoders.towers.pixels import PixelTransform
from edge_glass.fusion.edge.config import DUAL_ENCODER, FORMAT, VLM, read_config
from edge_glass.fusion.edge.folder import ExportedFolder

HALF = (0.5, 0.5, 0.5)
IMAGE = PixelTransform(image_size=8, fit="pad", mean=HALF, std=HALF).as_data()
CONFIGS: dict[str, dict[str, Any]] = {
    DUAL_ENCODER: {
        "format": FORMAT,
        "kind": DUAL_ENCODER,
        "graphs": {"fp32": {"vision_model": "v.onnx", "text_model": "t.onnx"}},
        "image": {"options": IMAGE["options"]},
        "matryoshka_dims": [8, 4],
        "text": {"max_tokens": 16},
    },
    VLM: {
        "format": FORMAT,
        "kind": VLM,
        "graphs": {"fp32": dict.fromkeys(("vision", "prefix", "prefill", "decode"), "g.onnx")},
        "image": {"options": IMAGE["options"]},
        "num_prefix_positions": 4,
        "max_positions": 64,
        "text": {
            "strip": True,
            "before_question": "",
            "after_question": "?",
            "stop_ids": [1],
            "max_new_tokens": 8,
            "cache_axis": 2,
        },
    },
}
# no value of a kind that some place may have, so that each replacement is wrong
WRONG = (-1, 2.5, float("nan"), [[]], {"a": 1}, ["x"])


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in value if isinstance(value, dict) else ():
        yield (*place, key)
        yield from places(value[key], (*place, key))


def changed(config: dict[str, Any], place: tuple[Any, ...], *value: Any) -> dict[str, Any]:
    found = copy.deepcopy(config)
    table = found
    for key in place[:-1]:
        table = table[key]
    table.pop(place[-1])
    if value:
        table[place[-1]] = value[0]
    return found


@pytest.mark.parametrize("kind", CONFIGS)
def test_each_missing_or_wrong_value_is_one_line(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    tried = 0
    for place in places(CONFIGS[kind]):
        for value in ((), *((each,) for each in WRONG)):
            file.write_text(json.dumps(changed(CONFIGS[kind], place, *value)))
            with pytest.raises(ValueError, match=re.escape(str(tmp_path))) as error:
                ExportedFolder(tmp_path, kind=kind).transform()
            text = str(error.value)
            assert "\n" not in text, (place, value)
            assert place[0] in text or place[-1] in text, (place, value, text)
            tried += 1
    assert tried > 80
    file.write_text(json.dumps(CONFIGS[kind]))
    assert read_config(tmp_path, kind) == CONFIGS[kind]
    assert ExportedFolder(tmp_path, kind=kind).transform().image_size == 8


@pytest.mark.parametrize("dims", [[4, 8], [8, 8], [], [True], ["8"]])
def test_dims_descend(dims: list[Any], tmp_path: Path) -> None:
    values = {**CONFIGS[DUAL_ENCODER], "matryoshka_dims": dims}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"matryoshka_dims is .*, expected a list of dims"):
        read_config(tmp_path, DUAL_ENCODER)


def test_a_config_of_endless_depth_is_broken(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json is broken"):
        read_config(tmp_path, VLM)


@pytest.mark.parametrize("name", ["num_prefix_positions", "text.cache_axis"])
@pytest.mark.parametrize("value", [False, 0.0])
def test_false_and_0_0_are_not_whole_numbers(name: str, value: object, tmp_path: Path) -> None:
    config = changed(CONFIGS[VLM], tuple(name.split(".")), value)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"{name} is {value}, expected a whole number"):
        read_config(tmp_path, VLM)
