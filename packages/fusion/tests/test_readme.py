"""The Python example of the README runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(
    vlm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/vlm_qa").symlink_to(vlm_folder)
    Image.new("RGB", (64, 48), "red").save("scene.png")
    Image.new("RGB", (48, 64), "blue").save("other.png")
    values: dict[str, object] = {}
    exec(compile(example, str(README), "exec"), values)
    answers = values["answers"]
    assert isinstance(answers, list)
    assert len(answers) == 3
    assert all(isinstance(answer, str) for answer in answers)
    assert Path("models/copy/tokenizer.json").is_file()
