"""The Python example of the README runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(
    dual_config: DualEncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    DualEncoder(dual_config).save_pretrained("models/align")
    Path("pictures").mkdir()
    for i, color in enumerate(("red", "green", "blue")):
        Image.new("RGB", (40 + i, 30), color).save(f"pictures/{color}.png")
    values: dict[str, object] = {}
    exec(compile(example, str(README), "exec"), values)
    assert values["best"] in sorted(Path("pictures").iterdir())
    small = values["small"]
    assert isinstance(small, torch.Tensor)
    assert small.shape == (3, 16)
    assert Path("models/copy/model.safetensors").is_file()
