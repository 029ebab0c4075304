"""Images from mirrors: every layout, checked like those from the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.encoders.files import DataError
from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.index import url_hash
from edge_glass.training.fetch.input import Folder
from edge_glass.training.fetch.session import fetch
from fetching import images
from hostile_server import HostileServer, png

GONE = [f"http://gone.invalid/{number}" for number in range(6)]


def run(source: Path, out: Path, **options: Any) -> Any:
    config = {"processes": 0, "max_attempts": 1, "rows_per_shard": 4, "allow_private": True}
    return fetch(source, out, FetchConfig(**{**config, **options}))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"image_url": GONE}), tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def test_folders_and_tables_of_every_layout(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "folder" / "ab"
    folder.mkdir(parents=True)
    (folder / f"{url_hash(GONE[0])}.png").write_bytes(png(0))
    (folder.parent / url_hash(GONE[1]).upper()).write_bytes(png(1))
    (folder / "README.txt").write_text("no picture")
    hashed = pa.table({"url_hash": [url_hash(GONE[2]), None], "bytes": [png(2), b"x"]})
    pq.write_table(hashed, tmp_path / "hashed.parquet")
    by_url = pa.table({"image_url": [GONE[3], GONE[4]], "image": [{"bytes": png(3)}, None]})
    pq.write_table(by_url, folder / "more.parquet")
    mirrors = (tmp_path / "folder", tmp_path / "hashed.parquet")
    summary = run(source, tmp_path / "out", mirrors=mirrors)
    assert images(tmp_path / "out") == [*map(png, range(4)), None, None]
    assert summary.totals.mirrored == 4
    manifest = pq.read_table(tmp_path / "out" / "report" / "manifest.parquet").to_pylist()
    assert [row["source"] for row in manifest] == ["mirror"] * 4 + ["web"] * 2
    assert [row["reason"] for row in manifest] == [None] * 4 + ["dns_failed"] * 2


def test_a_bad_image_of_a_mirror_is_downloaded(tmp_path: Path) -> None:
    with HostileServer() as server:
        url = server.url("ok/5")
        pq.write_table(pa.table({"image_url": [url]}), tmp_path / "in.parquet")
        (tmp_path / "mirror").mkdir()
        (tmp_path / "mirror" / f"{url_hash(url)}.png").write_bytes(b"<html>")
        run(tmp_path / "in.parquet", tmp_path / "out", mirrors=(tmp_path / "mirror",))
        assert images(tmp_path / "out") == [png(5)]
        assert server.hits["ok/5"] == 1


def test_a_later_mirror_brings_what_failed(tmp_path: Path, source: Path) -> None:
    """Without a request; the output folder of a different fetch is a mirror."""
    run(source, tmp_path / "out")
    assert images(tmp_path / "out") == [None] * 6
    table = pa.table({"image_url": GONE, "image": [{"bytes": png(n)} for n in range(6)]})
    Folder(tmp_path / "other").make()
    Folder(tmp_path / "other").plan.write_text("{}")
    pq.write_table(pa.table({"image_url": GONE}), Folder(tmp_path / "other").slice(0))
    pq.write_table(table[1:], tmp_path / "other" / "00000-of-00001.parquet")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / url_hash(GONE[0])).write_bytes(b"<html>")
    mirrors = (tmp_path / "bad", tmp_path / "other")
    summary = run(source, tmp_path / "out", mirrors=mirrors)
    assert images(tmp_path / "out") == [None, *map(png, range(1, 6))]
    assert summary.totals.reasons == {"dns_failed": 1}
    assert not list(Folder(tmp_path / "out").packs.iterdir())


def test_a_mirror_without_the_columns_is_named(tmp_path: Path, source: Path) -> None:
    pq.write_table(pa.table({"picture": ["x"]}), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"bad.parquet: expected url_hash or image_url.*picture"):
        run(source, tmp_path / "out", mirrors=(tmp_path / "bad.parquet",))
    with pytest.raises(DataError, match="does not exist"):
        FetchConfig(mirrors=(tmp_path / "nowhere",))
