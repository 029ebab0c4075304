"""The example of docs/loading.md runs unchanged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parquet_files import write_files

DOCS = Path(__file__).parents[4] / "docs" / "loading.md"


@pytest.mark.skipif(not DOCS.exists(), reason="an sdist has tests but no docs")
def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    write_files(Path("data/cap"), [(20, 5), (15,)], images=True)
    exec(compile(example, str(DOCS), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" row", 1)[0] for line in lines] == [
        f"{step} torch.Size([8, 3, 336, 336])" for step in (2, 3, 4)
    ]
