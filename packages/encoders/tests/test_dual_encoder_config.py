from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig


def features(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 4, 1728, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "other"}, "not that of a dual_encoder"),
        ({"pooling": "max"}, r"pooling is 'max', expected one of \['attention', 'perceiver'\]"),
        ({"pooling": None}, "pooling is None"),
        ({"new": 1}, r"the config has unknown fields \['new'\]"),
        ({"pooling_config": {"depth": 1}}, r"pooling_config has unknown fields \['depth'\]"),
        ({"pooling_config": None}, "pooling_config is None, expected an object"),
        ({"text_encoder_config": {}}, "text_encoder_config: .* 'model'"),
        ({"matryoshka_dims": [4, 8]}, "strictly descend"),
    ],
)
def test_a_config_that_can_not_be_is_refused(
    dual_config: DualEncoderConfig, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DualEncoderConfig.from_dict(dual_config.to_dict() | change)


def test_the_config_survives_json(dual_config: DualEncoderConfig) -> None:
    assert DualEncoderConfig.from_dict(json.loads(json.dumps(dual_config.to_dict()))) == dual_config
    assert asdict(dual_config)["init_logit_scale"] == pytest.approx(math.log(1 / 0.07))


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
    (tmp_path / "mean_pooling.py").write_text(THIRD_PARTY)
    information = tmp_path / "mean_pooling-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mean-pooling\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        "[edge_glass.poolings]\nmean = mean_pooling:MeanPoolingConfig\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    values = dual_config.to_dict() | {"pooling": "mean", "pooling_config": {"unused": 3}}
    dual = DualEncoder(DualEncoderConfig.from_dict(values)).eval()
    assert torch.equal(dual.pool(features()), features().mean(1, keepdim=True))
    dual.save_pretrained(tmp_path / "model")
    loaded = DualEncoder.from_pretrained(tmp_path / "model", load_encoders=False)
    assert torch.equal(loaded.image_embeddings(features()), dual.image_embeddings(features()))
    shutil.rmtree(information)
    with pytest.raises(ValueError, match="a third party's needs its package installed"):
        DualEncoder.from_pretrained(tmp_path / "model", load_encoders=False)
