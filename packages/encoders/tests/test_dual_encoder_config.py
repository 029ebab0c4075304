"""The config of a dual encoder: complete, strict, and the same after a round trip."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from edge_glass.encoders.components import ConfigError
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig


def features(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 4, 1728, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "other"}, "config.json: not the config of a dual_encoder"),
        ({"pooling": "max"}, "pooling is 'max', .*choose one of attention, mean, perceiver"),
        ({"pooling": None}, "pooling is null"),
        ({"pooling": ["attention"]}, r"pooling is \['attention'\]"),
        ({"new": 1}, "config.json: unknown field 'new'"),
        ({"grid": [0, 4]}, r"grid is \(0, 4\), expected rows and columns from 1"),
        ({"image_width": -1}, "image_width is -1, expected a number from 1"),
        ({"pooling_config": {"depth": 1}}, "pooling_config: unknown field 'depth'"),
        ({"pooling_config": None}, "pooling_config: expected a table of options, found null"),
        (
            {"pooling_config": {"num_queries": "12"}},
            "pooling_config: num_queries is '12', expected",
        ),
        ({"text_encoder_config": {}}, "text_encoder_config: model missing; add it"),
        ({"text_width": "12"}, "config.json: text_width is '12', expected"),
        ({"projection": "cubic"}, "config.json: projection is 'cubic', expected linear or mlp"),
        ({"matryoshka_dims": [4, 8]}, "strictly descend"),
    ],
)
def test_a_config_that_can_not_be_is_refused(
    dual_config: DualEncoderConfig, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        DualEncoderConfig.from_dict(dual_config.to_dict() | change, where="config.json")


def test_the_config_survives_json(dual_config: DualEncoderConfig) -> None:
    values = json.loads(json.dumps(dual_config.to_dict()))
    assert DualEncoderConfig.from_dict(values, where="config.json") == dual_config


def test_the_keys_of_config_json_stay(dual_config: DualEncoderConfig) -> None:
    """Models in use have these; a default that changes must not change what they mean."""
    values = dual_config.to_dict()
    assert sorted(values) == [
        *("grid", "hidden_width", "image_dropout", "image_width", "init_logit_scale"),
        *("matryoshka_dims", "model", "pooling", "pooling_config", "projection"),
        *("text_dropout", "text_encoder", "text_encoder_config", "text_width"),
        *("token_reduction", "vision_encoder", "vision_encoder_config"),
    ]
    assert values["pooling"] == "attention"
    assert values["pooling_config"] == {
        "num_queries": 2,
        "width": 32,
        "key_dim": None,
        "num_heads": 4,
        "positions": True,
        "dropout": 0.0,
    }
    # rounded, as the models in use were trained from it
    assert values["init_logit_scale"] == pytest.approx(math.log(1 / 0.07), abs=1e-3)


THIRD_PARTY = """
from dataclasses import dataclass
from edge_glass.encoders.base import Pooling

class MeanPooling(Pooling):
    def __init__(self, width):
        super().__init__()
        self.input_width = self.width = width
        self.num_tokens = 1

    def forward(self, features):
        return features.mean(1, keepdim=True)

@dataclass(frozen=True, kw_only=True)
class MeanPoolingConfig:
    unused: int = 0

    def build(self, input_width, grid):
        return MeanPooling(input_width)
"""


def test_a_third_partys_component_is_found_by_entry_point(
    dual_config: DualEncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "third_pooling.py").write_text(THIRD_PARTY)
    information = tmp_path / "third_pooling-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: third\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        "[edge_glass.poolings]\nthird = third_pooling:MeanPoolingConfig\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    values = dual_config.to_dict() | {"pooling": "third", "pooling_config": {"unused": 3}}
    dual = DualEncoder(DualEncoderConfig.from_dict(values, where="config.json")).eval()
    assert torch.equal(dual.pool(features()), features().mean(1, keepdim=True))
    dual.save_pretrained(tmp_path / "model")
    loaded = DualEncoder.from_pretrained(tmp_path / "model", load_encoders=False)
    assert torch.equal(loaded.image_embeddings(features()), dual.image_embeddings(features()))
    shutil.rmtree(information)
    with pytest.raises(ValueError, match="install the package that offers it"):
        DualEncoder.from_pretrained(tmp_path / "model", load_encoders=False)
