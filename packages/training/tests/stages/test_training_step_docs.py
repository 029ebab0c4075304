"""The programs of docs/training-step.md run, and every shape in their comments is true."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
DOCS = ROOT / "docs" / "training-step.md"
SHAPE = re.compile(r"^ *(\w+) = .*  # \([\w, ]*\) = (\([\d, ]*\))$", re.MULTILINE)

pytestmark = [
    pytest.mark.usefixtures("restore_torch"),
    pytest.mark.skipif(not DOCS.exists(), reason="the tests of an sdist have no docs beside them"),
]


@pytest.mark.parametrize("number", [0, 1], ids=["align", "vlm_qa"])
def test_the_documented_shapes_are_the_real_ones(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[number]
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(compile(program, str(DOCS), "exec"), names)
    documented = {name: ast.literal_eval(shape) for name, shape in SHAPE.findall(program)}
    assert len(documented) == program.count("  # (")
    assert documented == {name: tuple(names[name].shape) for name in documented}
