"""Shards and the index behind them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.training.fetch import shards
from edge_glass.training.fetch.folder import Folder, replacing
from edge_glass.training.fetch.index import Index, url_hash
from edge_glass.training.fetch.packs import Packs
from edge_glass.training.fetch.shards import ShardTask, Source, build_shard
from edge_glass.training.fetch.slices import plan_input


def make_task(folder: Path, bodies: list[bytes | None]) -> ShardTask:
    captions = [f"caption {number}" for number in range(len(bodies))]
    urls = [f"http://x/{number}" for number in range(len(bodies))]
    pq.write_table(pa.table({"image_url": urls, "caption": captions}), folder / "slice.parquet")
    (folder / "packs").mkdir(exist_ok=True)
    packs = Packs(folder / "packs", 1)
    kept = [(0, body) for body in bodies if body is not None]
    places = iter(packs.append(kept))
    packs.close()
    sources: list[Source | None] = []
    for body in bodies:
        if body is None:
            sources.append(None)
            continue
        name, offset = next(places)
        digest = hashlib.sha256(body).hexdigest()
        sources.append(
            Source(pack=name, offset=offset, length=len(body), sha256=digest, name=f"{digest}.png")
        )
    return ShardTask(
        slice=folder / "slice.parquet",
        packs=folder / "packs",
        target=folder / "shard.parquet",
        sources=sources,
    )


def test_a_shard_has_the_rows_and_the_pictures(tmp_path: Path) -> None:
    bodies = [b"one", None, b"three" * 1000]
    task = make_task(tmp_path, bodies)
    result = build_shard(task)
    assert result.lost == []
    assert result.size == task.target.stat().st_size
    rows = pq.read_table(task.target).to_pylist()
    assert [(row["image"] or {}).get("bytes") for row in rows] == bodies
    assert rows[0]["image"]["path"] == f"{hashlib.sha256(b'one').hexdigest()}.png"
    assert [row["caption"] for row in rows] == ["caption 0", "caption 1", "caption 2"]


def test_row_groups_are_cut_by_bytes_and_repeats_are_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "GROUP_BYTES", 1_000_000)
    noise = [np.random.default_rng(number).bytes(300_000) for number in range(3)]
    task = make_task(tmp_path, [noise[0]] * 3 + [noise[1]] * 3 + [noise[2]])
    build_shard(task)
    file = pq.ParquetFile(task.target)
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert groups == [4, 3]
    # 2.1 MB of pictures; the first group names two of them, the second two
    assert 1_200_000 < task.target.stat().st_size < 1_300_000
    assert [row["image"]["bytes"] for row in file.read().to_pylist()] == (
        [noise[0]] * 3 + [noise[1]] * 3 + [noise[2]]
    )


@pytest.mark.parametrize("harm", ["missing", "short", "changed"])
def test_lost_pictures_leave_the_present_file_alone(tmp_path: Path, harm: str) -> None:
    task = make_task(tmp_path, [b"one", None, b"three"])
    task.target.write_bytes(b"present")
    (pack,) = task.packs.iterdir()
    if harm == "missing":
        pack.unlink()
    else:
        content = pack.read_bytes()
        pack.write_bytes(content[:-1] if harm == "short" else b"X" + content[1:])
    lost = {"missing": [0, 2], "short": [2], "changed": [0]}[harm]
    assert build_shard(task).lost == lost
    assert task.target.read_bytes() == b"present"
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_rewrite_takes_from_the_present_file_what_is_old(tmp_path: Path) -> None:
    bodies = [b"one", b"two", b"three"]
    full = make_task(tmp_path, bodies)
    build_shard(full)
    expected = full.target.read_bytes()
    first = make_task(tmp_path, [b"one", None, b"three"])
    build_shard(first)
    old = [
        Source(pack="", offset=0, length=0, sha256=each.sha256, name=each.name) if each else None
        for each in first.sources
    ]
    sources = [old[0], full.sources[1], old[2]]
    task = ShardTask(slice=full.slice, packs=full.packs, target=full.target, sources=sources)
    assert build_shard(task).lost == []
    assert task.target.read_bytes() == expected


def test_replacing_leaves_the_old_file_on_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "file") as path:
            path.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


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
    assert index.row_picture.tolist() == [numbers[url] if url else -1 for url in urls]
    assert list(index.urls()) == [(number, url) for url, number in numbers.items()]
    for url, number in numbers.items():
        named = sorted({row // 9 for row, each in enumerate(urls) if each == url})
        assert index.shards_of(number) == named
        assert (index.first_shard[number], index.last_shard[number]) == (named[0], named[-1])
        assert index.find(url_hash(url)) == number
    assert index.find(url_hash("http://other/")) == -1
    assert plan.shards == 12
    assert [len(index.rows_of_shard(shard)) for shard in range(12)] == [9] * 11 + [1]
