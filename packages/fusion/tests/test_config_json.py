"""config.json of a saved model: any value that is missing or wrong is one line that names it.

Every place is deleted and replaced, in both kinds of model.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.vlm import VisionLanguageModel

DELETED = object()
# negative, huge, a fraction, NaN, a text, a list, a table, null
VALUES = (DELETED, -1, 10**12, 2.5, float("nan"), "x\0", [[]], {"a": 1}, None)


def changes(config: dict[str, Any]) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Yields the place and the config with one value changed."""

    def places(value: Any, place: list[Any]) -> Iterator[list[Any]]:
        pairs = value.items() if isinstance(value, dict) else ()
        for key, each in enumerate(value) if isinstance(value, list) else pairs:
            yield [*place, key]
            yield from places(each, [*place, key])

    for place in places(config, []):
        for value in VALUES:
            changed = copy.deepcopy(config)
            table: Any = changed
            for key in place[:-1]:
                table = table[key]
            if value is DELETED:
                del table[place[-1]]
            else:
                table[place[-1]] = value
            yield place, changed


def load_dual(folder: Path) -> None:
    DualEncoder.from_pretrained(folder, load_encoders=False)


def load_vlm(folder: Path) -> None:
    VisionLanguageModel.from_pretrained(folder, load_vision_encoder=False)


@pytest.mark.parametrize(
    ("model", "load", "least"),
    [
        ("dual_folder", load_dual, 150),
        pytest.param("vlm_folder", load_vlm, 250, marks=pytest.mark.slow),
    ],
)
def test_each_missing_or_wrong_value_is_named(
    model: str,
    load: Callable[[Path], None],
    least: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(request.getfixturevalue(model), folder)
    config = json.loads((folder / "config.json").read_text())
    refused = 0
    for place, changed in changes(config):
        (folder / "config.json").write_text(json.dumps(changed))
        try:
            load(folder)  # some values, such as a different share of dropout, are as good
        except ValueError as found:
            error = found
        else:
            continue
        assert str(folder) in str(error), (place, changed)
        refused += 1
    assert refused > least


def test_an_encoder_that_does_not_fit_is_named_with_its_model(
    dual_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(dual_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["vision_encoder_config"]["layers"] = ["head"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"model/config\.json: efficientnet_lite0 has width"):
        DualEncoder.from_pretrained(folder)
    config["vision_encoder_config"]["weights"] = "nowhere"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"model/config\.json: nowhere is not a file or folder"):
        DualEncoder.from_pretrained(folder)
