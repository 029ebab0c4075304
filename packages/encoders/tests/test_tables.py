"""The tables of components, and what their import costs."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

from edge_glass.encoders.tables import POOLINGS
from edge_glass.encoders.towers.tables import TEXT_ENCODERS, VISION_ENCODERS


def test_the_names_are_those_of_the_documents() -> None:
    vision = ["clip_vit_l14_336", "efficientnet_lite0", "timm_vision", "transformers_vision"]
    assert sorted(VISION_ENCODERS) == vision
    texts = ["all_minilm_l6_v2", "all_mpnet_base_v2", "sentence_transformer"]
    assert sorted(TEXT_ENCODERS) == texts
    assert sorted(POOLINGS) == ["attention", "mean", "perceiver"]


@pytest.mark.parametrize(
    "config_class", [*VISION_ENCODERS.values(), *TEXT_ENCODERS.values(), *POOLINGS.values()]
)
def test_configs_are_frozen_and_keyword_only(config_class: type) -> None:
    fields = dataclasses.fields(config_class)
    assert all(field.kw_only for field in fields)
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    config = config_class(**dict.fromkeys(required, "x"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, fields[0].name if fields else "any", 1)


def test_heavy_libraries_are_imported_only_when_a_model_is_built() -> None:
    code = (
        "import sys, edge_glass.encoders.towers.tables, edge_glass.encoders.dual_encoder;"
        "heavy = {'transformers', 'sentence_transformers', 'sklearn'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "[]"
