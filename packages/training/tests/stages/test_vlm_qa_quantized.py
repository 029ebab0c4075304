"""A decoder in 4 bit on the CPU: R0 and R1."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from edge_glass.training.params import Params
from edge_glass.training.stages import vlm_qa

pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.usefixtures("restore_torch")


def written() -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for folder in ("models/vlm_qa", "plots/vlm_qa")
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_four_bit_repeats_and_goes_on_with_the_same_bytes(
    configure: Callable[..., Params],
    tiny_qwen: dict[str, Any],
    stop_at: Callable[[int], AbstractContextManager[None]],
) -> None:
    decoder = {**tiny_qwen, "quantization": "4bit"}
    params = configure(
        {"decoder": "qwen2_5_7b", "decoders": {"qwen2_5_7b": decoder}}, max_length=60
    )
    vlm_qa.run(params)
    once = written()
    vlm_qa.run(params)
    assert written() == once

    with stop_at(8):  # the state was saved at 6
        vlm_qa.run(params)
    assert Path("artifacts/state/vlm_qa/model.safetensors").is_file()
    vlm_qa.run(params)
    assert written() == once
