"""Rows, images and shards as arrays, against plain dicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.training.fetch.index import Index, url_hash
from edge_glass.training.fetch.input import Folder, plan_input


@pytest.mark.parametrize("row_group_size", [3, 1000])
def test_the_index_against_plain_dicts(tmp_path: Path, row_group_size: int) -> None:
    generator = np.random.default_rng(0)
    urls: list[str | None] = [f"http://h/{number}" for number in generator.integers(0, 40, 100)]
    urls[7], urls[50] = None, ""
    table = pa.table({"image_url": urls})
    (tmp_path / "in").mkdir()
    pq.write_table(table[:60], tmp_path / "in" / "0.parquet", row_group_size=row_group_size)
    pq.write_table(table[60:], tmp_path / "in" / "1.parquet", row_group_size=row_group_size)
    folder = Folder(tmp_path / "out")
    folder.make()
    plan = plan_input(tmp_path / "in", folder, 9, None)
    index = Index(folder, plan, with_sha256=True)
    numbers: dict[str, int] = {}
    for url in urls:
        if url:
            numbers.setdefault(url, len(numbers))
    assert index.row_image.tolist() == [numbers[url] if url else -1 for url in urls]
    assert list(index.urls()) == [(number, url) for url, number in numbers.items()]
    for url, number in numbers.items():
        named = sorted({row // 9 for row, other in enumerate(urls) if other == url})
        assert index.shards_of(number) == named
        assert (index.first_shard[number], index.last_shard[number]) == (named[0], named[-1])
        assert index.find(url_hash(url)) == number
    assert index.find(url_hash("http://other/")) == -1
    assert plan.shards == 12
    assert [len(index.rows_of_shard(shard)) for shard in range(12)] == [9] * 11 + [1]
