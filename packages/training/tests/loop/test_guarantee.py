"""The level that tests prove for a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from edge_glass.training.loop.guarantee import (
    NONE,
    UP_TO_R1,
    UP_TO_R3,
    UP_TO_R4,
    WITH_LIVE,
    proven_level,
)
from edge_glass.training.params import parse_params

QWEN = {
    "model": "org/qwen",
    "revision": "0" * 40,
    "license": "Apache-2.0",
    "lora": {"rank": 2, "alpha": 2},
}
AUGMENTED = {"augmentation": {"min_area": 0.8, "brightness": 0.2}}


@pytest.mark.parametrize(
    ("change", "align", "vlm_qa"),
    [
        ({}, UP_TO_R3, UP_TO_R3),
        ({"reproducibility": "portable"}, UP_TO_R4, UP_TO_R4),
        ({"reproducibility": "portable", "augmentation": True}, UP_TO_R3, UP_TO_R4),
        ({"reproducibility": "portable", "launch": "ddp"}, UP_TO_R4, NONE),
        ({"reproducibility": "portable", "device": "cuda"}, NONE, NONE),
        ({"reproducibility": "portable", "features": "live"}, WITH_LIVE, WITH_LIVE),
        ({"reproducibility": "portable", "quantization": "none"}, UP_TO_R4, UP_TO_R4),
        ({"reproducibility": "portable", "quantization": "4bit"}, UP_TO_R4, UP_TO_R1),
        ({"reproducibility": "portable", "quantization": "8bit"}, UP_TO_R4, NONE),
    ],
)
def test_the_level_is_what_the_weakest_choice_leaves(
    params: dict[str, Any], change: dict[str, Any], align: str, vlm_qa: str
) -> None:
    if change.pop("augmentation", False):
        params["align"]["tiny"].update(AUGMENTED)
    if "quantization" in change:
        decoder = {**QWEN, "quantization": change.pop("quantization")}
        params |= {"decoder": "qwen2_5_7b", "decoders": {"qwen2_5_7b": decoder}}
    parsed = parse_params({**params, **change}, where="p")
    assert proven_level(parsed, "align").startswith(align)
    assert proven_level(parsed, "vlm_qa").startswith(vlm_qa)
