"""One shard: rows with their images, written completely or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.training.fetch.packs import Packs
from edge_glass.training.fetch.shards import GROUP_BYTES, ShardTask, Source, build_shard


def make_task(
    folder: Path, bodies: list[bytes | None], group_bytes: int = GROUP_BYTES
) -> ShardTask:
    captions = [f"caption {number}" for number in range(len(bodies))]
    urls = [f"http://x/{number}" for number in range(len(bodies))]
    pq.write_table(pa.table({"image_url": urls, "caption": captions}), folder / "slice.parquet")
    (folder / "packs").mkdir(exist_ok=True)
    packs = Packs(folder / "packs", 1)
    kept = [(0, body) for body in bodies if body is not None]
    locations = iter(packs.append(kept))
    packs.close()
    sources: list[Source | None] = []
    for body in bodies:
        if body is None:
            sources.append(None)
            continue
        name, offset = next(locations)
        digest = hashlib.sha256(body).hexdigest()
        sources.append(
            Source(pack=name, offset=offset, length=len(body), sha256=digest, name=f"{digest}.png")
        )
    return ShardTask(
        slice=folder / "slice.parquet",
        packs=folder / "packs",
        target=folder / "shard.parquet",
        sources=sources,
        group_bytes=group_bytes,
    )


def test_a_shard_has_the_rows_and_the_images(tmp_path: Path) -> None:
    bodies = [b"one", None, b"three" * 1000]
    task = make_task(tmp_path, bodies)
    result = build_shard(task)
    assert result.lost == []
    assert result.size == task.target.stat().st_size
    rows = pq.read_table(task.target).to_pylist()
    assert [(row["image"] or {}).get("bytes") for row in rows] == bodies
    assert rows[0]["image"]["path"] == f"{hashlib.sha256(b'one').hexdigest()}.png"
    assert [row["caption"] for row in rows] == ["caption 0", "caption 1", "caption 2"]


def test_row_groups_are_cut_by_bytes_and_repeats_are_stored_once(tmp_path: Path) -> None:
    noise = [np.random.default_rng(number).bytes(300_000) for number in range(3)]
    bodies = [noise[0]] * 3 + [noise[1]] * 3 + [noise[2]]
    task = make_task(tmp_path, bodies, group_bytes=1_000_000)
    build_shard(task)
    file = pq.ParquetFile(task.target)
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert groups == [4, 3]
    # 2.1 MB of images; each group has two different ones
    assert 1_200_000 < task.target.stat().st_size < 1_300_000
    assert [row["image"]["bytes"] for row in file.read().to_pylist()] == bodies


@pytest.mark.parametrize("harm", ["missing", "short", "changed"])
def test_lost_images_leave_the_existing_file_alone(tmp_path: Path, harm: str) -> None:
    task = make_task(tmp_path, [b"one", None, b"three"])
    task.target.write_bytes(b"existing")
    (pack,) = task.packs.iterdir()
    if harm == "missing":
        pack.unlink()
    else:
        content = pack.read_bytes()
        pack.write_bytes(content[:-1] if harm == "short" else b"X" + content[1:])
    lost = {"missing": [0, 2], "short": [2], "changed": [0]}[harm]
    assert build_shard(task).lost == lost
    assert task.target.read_bytes() == b"existing"
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_rewrite_takes_old_images_from_the_existing_file(tmp_path: Path) -> None:
    bodies = [b"one", b"two", b"three"]
    full = make_task(tmp_path, bodies)
    build_shard(full)
    expected = full.target.read_bytes()
    first = make_task(tmp_path, [b"one", None, b"three"])
    build_shard(first)
    old = [
        Source(pack="", offset=0, length=0, sha256=new.sha256, name=new.name) if new else None
        for new in first.sources
    ]
    sources = [old[0], full.sources[1], old[2]]
    task = ShardTask(slice=full.slice, packs=full.packs, target=full.target, sources=sources)
    assert build_shard(task).lost == []
    assert task.target.read_bytes() == expected
