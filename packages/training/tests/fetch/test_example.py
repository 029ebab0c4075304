"""The example: the sample through a bad network and three kills."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hostile_server import png

SHOW = Path(__file__).parents[4] / "examples" / "fetch-with-faults" / "show.py"


@pytest.mark.slow
@pytest.mark.skipif(not SHOW.exists(), reason="the repository's examples are not here")
def test_every_picture_that_exists_arrives(tmp_path: Path) -> None:
    images = [{"bytes": png(number % 600), "path": "x"} for number in range(700)]
    images[5] = {"bytes": png(5)[:200], "path": "broken"}
    urls = [f"https://example.org/{number}" for number in range(700)]
    table = pa.table({"image_url": urls, "caption": urls, "image": images})
    pq.write_table(table, tmp_path / "sample.parquet")
    done = subprocess.run(
        [sys.executable, SHOW, "--sample", tmp_path / "sample.parquet"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill 3" in done.stdout
    # of 601 pictures 0, 50 … 600 are dead, the first two of them named twice; one is broken
    assert "700 rows in order; 684 have their picture" in done.stdout
