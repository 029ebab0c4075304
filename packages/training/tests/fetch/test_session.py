"""A fetch from end to end against a hostile server on loopback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.encoders.files import DataError
from edge_glass.training.fetch.index import url_hash
from edge_glass.training.fetch.input import Folder
from fetching import images, manifest, rows, run, shard_hashes, write_input
from hostile_server import HostileServer, png


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    with HostileServer() as running:
        yield running


OUTCOMES = {
    "ok/1": ("ok", None, 1),
    "no-length/2": ("ok", None, 1),
    "moved/3": ("ok", None, 1),
    "busy/4": ("ok", None, 2),
    "unavailable/5": ("ok", None, 3),
    "missing/0": ("dead", "http_404", 1),
    "gone/0": ("dead", "http_410", 1),
    "forbidden/0": ("failed", "http_403", 1),
    "html/0": ("failed", "not_an_image", 1),
    "truncated/0": ("failed", "truncated_body", 4),
    "half/0": ("failed", "truncated_image", 4),
    "short-length/0": ("failed", "bad_response", 4),
    "down/0": ("failed", "http_500", 4),
    "loop/0": ("failed", "too_many_redirects", 1),
    "nowhere/0": ("failed", "redirect_nowhere", 1),
    "garbage/0": ("failed", "bad_response", 4),
    "huge/0": ("refused", "too_large", 1),
    "huge-length/0": ("refused", "too_large", 1),
    "gzip-bomb/0": ("refused", "too_large", 1),
    "bomb/0": ("refused", "image_bomb", 1),
    "to/0/file/etc/passwd": ("refused", "refused_address", 1),
    "to/0/ftp/example.org/a.png": ("refused", "refused_address", 1),
}


def test_every_fault_ends_as_it_should(tmp_path: Path, server: HostileServer) -> None:
    urls = [server.url(path) for path in OUTCOMES]
    summary = run(write_input(tmp_path / "in.parquet", urls), tmp_path / "out")
    found = manifest(tmp_path / "out")
    outcomes = {
        path: tuple(found[server.url(path)][name] for name in ("status", "reason", "attempts"))
        for path in OUTCOMES
    }
    assert outcomes == OUTCOMES
    assert summary.totals.statuses == {"ok": 5, "dead": 2, "failed": 9, "refused": 6}
    for row, path in zip(rows(tmp_path / "out"), OUTCOMES, strict=True):
        assert row["image_url"] == server.url(path)
        number = int(path.split("/")[1])
        expected = png(number) if OUTCOMES[path][0] == "ok" else None
        assert (row["image"] or {}).get("bytes") == expected


def test_a_slow_drip_and_a_silent_server_time_out(tmp_path: Path, server: HostileServer) -> None:
    urls = [server.url("drip/0"), server.url("silent/0"), server.url("ok/1")]
    source = write_input(tmp_path / "in.parquet", urls)
    run(source, tmp_path / "out", total_timeout=0.2, max_attempts=2)
    found = manifest(tmp_path / "out")
    assert [found[url]["reason"] for url in urls] == ["timeout", "timeout", None]
    assert found[urls[0]]["attempts"] == 2


def test_the_manifest_describes_the_images(tmp_path: Path, server: HostileServer) -> None:
    url = server.url("ok/7")
    run(write_input(tmp_path / "in.parquet", [url, url, None, ""]), tmp_path / "out")
    (row,) = pq.read_table(tmp_path / "out" / "report" / "manifest.parquet").to_pylist()
    body = png(7)
    assert row["url_hash"] == url_hash(url) == hashlib.sha256(url.encode()).hexdigest()
    assert row["sha256"] == hashlib.sha256(body).hexdigest()
    assert (row["width"], row["height"], row["format"]) == (24, 20, "PNG")
    assert (row["bytes"], row["rows"], row["source"]) == (len(body), 2, "web")
    assert row["time"] is not None
    report = json.loads((tmp_path / "out" / "report" / "summary.json").read_text())
    assert report["rows_without_url"] == 2
    assert report["pictures"] == 1
    assert [bool(row["image"]) for row in rows(tmp_path / "out")] == [True, True, False, False]


def test_an_image_is_fetched_once_however_many_rows_refer_to_it(
    tmp_path: Path, server: HostileServer
) -> None:
    urls = [server.url(f"ok/{100 + number % 7}") for number in range(40)]
    run(write_input(tmp_path / "in.parquet", urls), tmp_path / "out")
    assert all(server.hits[f"ok/{100 + number}"] == 1 for number in range(7))
    assert images(tmp_path / "out") == [png(100 + number % 7) for number in range(40)]
    assert not list((tmp_path / "out" / "work" / "packs").iterdir())


def test_shards_are_a_function_of_input_and_images(tmp_path: Path) -> None:
    with HostileServer() as calm, HostileServer(reset_share=0.3) as rough:
        # both servers have different ports, so the rough one gets an input of its own
        urls = [calm.url(f"ok/{number % 17}") for number in range(30)]
        source = write_input(tmp_path / "in.parquet", urls)
        run(source, tmp_path / "a", concurrency=1)
        run(source, tmp_path / "b", concurrency=16, processes=1)
        assert shard_hashes(tmp_path / "a") == shard_hashes(tmp_path / "b")
        rough_urls = [rough.url(f"ok/{number}") for number in range(30)]
        run(write_input(tmp_path / "c.parquet", rough_urls), tmp_path / "c", max_attempts=10)
        assert sum(rough.hits.values()) > 30  # some were reset
        assert images(tmp_path / "c") == [png(number) for number in range(30)]


def test_a_second_run_requests_nothing(tmp_path: Path) -> None:
    with HostileServer() as own:
        urls = [own.url(path) for path in ("ok/1", "missing/0", "html/0", "ok/2")]
        source = write_input(tmp_path / "in.parquet", urls)
        run(source, tmp_path / "out")
        before, hits = shard_hashes(tmp_path / "out"), own.hits.copy()
        run(source, tmp_path / "out")
        assert own.hits == hits
        assert shard_hashes(tmp_path / "out") == before


def test_retry_failed_requests_all_but_the_dead_again(tmp_path: Path) -> None:
    with HostileServer() as own:
        paths = ["ok/1", "missing/0", "unavailable/3", "html/0", "ok/2", "ok/4"]
        urls = [own.url(path) for path in paths]
        source = write_input(tmp_path / "in.parquet", urls)
        out = tmp_path / "out"
        run(source, out, max_attempts=1)
        assert manifest(out)[urls[2]]["reason"] == "http_503"
        run(source, out, max_attempts=3, retry_failed=True)
        assert manifest(out)[urls[2]]["status"] == "ok"
        assert (own.hits["ok/1"], own.hits["missing/0"], own.hits["html/0"]) == (1, 1, 2)
        assert [bool(row["image"]) for row in rows(out)] == [True, False, True, False, True, True]
        assert not list((out / "work" / "packs").iterdir())
        run(source, out, retry_dead=True)
        assert own.hits["missing/0"] == 2
        # and a fresh fetch of what is there now gives the same bytes
        run(source, tmp_path / "fresh")
        assert shard_hashes(out) == shard_hashes(tmp_path / "fresh")


def test_a_lost_shard_and_a_lost_pack_are_fetched_again(tmp_path: Path) -> None:
    with HostileServer() as own:
        urls = [own.url(f"ok/{number % 8}") for number in range(12)]
        source = write_input(tmp_path / "in.parquet", urls)
        run(source, tmp_path / "out")
        before = shard_hashes(tmp_path / "out")
        (tmp_path / "out" / "00001-of-00003.parquet").unlink()
        run(source, tmp_path / "out")
        assert shard_hashes(tmp_path / "out") == before
        # rows 5 to 9 refer to images 5, 6, 7, 0, 1
        assert own.hits == {f"ok/{n}": 2 if n in (5, 6, 7, 0, 1) else 1 for n in range(8)}


@pytest.mark.parametrize(
    ("policy", "status", "matches"),
    [("off", "ok", None), ("warn", "ok", False), ("strict", "failed", None)],
)
def test_published_hashes(
    tmp_path: Path, server: HostileServer, policy: str, status: str, matches: bool | None
) -> None:
    hashes = [hashlib.sha256(png(1)).hexdigest(), "0" * 64, None]
    urls = [server.url(f"ok/{number}") for number in (1, 2, 3)]
    source = write_input(tmp_path / "in.parquet", urls, image_sha256=hashes)
    run(source, tmp_path / "out", image_sha256=policy)
    found = manifest(tmp_path / "out")
    assert found[urls[0]]["sha256_matches"] is (None if policy == "off" else True)
    assert found[urls[1]]["status"] == status
    assert found[urls[1]]["sha256_matches"] is matches
    assert found[urls[2]]["status"] == "ok"
    if policy == "warn":
        with pytest.raises(DataError, match="1 images were kept"):
            run(source, tmp_path / "out", image_sha256="strict")
    if policy == "strict":
        assert found[urls[1]]["reason"] == "sha256_mismatch"


def test_loopback_is_refused_by_default(tmp_path: Path, server: HostileServer) -> None:
    before = server.hits.total()
    urls = [server.url("ok/1"), server.url("ok/1", host="localhost"), server.url("ok/1", "[::1]")]
    source = write_input(tmp_path / "in.parquet", urls)
    run(source, tmp_path / "out", allow_private=False)
    assert {row["reason"] for row in manifest(tmp_path / "out").values()} == {"refused_address"}
    assert server.hits.total() == before


def test_per_host_bounds_requests_at_once(tmp_path: Path) -> None:
    with HostileServer(delay=0.01) as own:
        urls = [own.url(f"ok/{number}") for number in range(24)]
        run(write_input(tmp_path / "in.parquet", urls), tmp_path / "out", per_host=3)
        assert own.max_active == 3


def test_a_folder_belongs_to_one_input(tmp_path: Path, server: HostileServer) -> None:
    run(write_input(tmp_path / "a.parquet", [server.url("ok/1")]), tmp_path / "out")
    other = write_input(tmp_path / "b.parquet", [server.url("ok/2")])
    with pytest.raises(DataError, match="begun with a different input"):
        run(other, tmp_path / "out")
    with pytest.raises(DataError, match="begun with 5 rows per shard, now it is 6"):
        run(tmp_path / "a.parquet", tmp_path / "out", rows_per_shard=6)


def test_one_process_per_folder(tmp_path: Path, server: HostileServer) -> None:
    source = write_input(tmp_path / "in.parquet", [server.url("ok/1")])
    with (
        Folder(tmp_path / "out").lock(),
        pytest.raises(BlockingIOError, match="already running here"),
    ):
        run(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"url": ["x"]}), "column 'image_url' is missing; found url"),
        (pa.table({"image_url": [1]}), "column 'image_url' is int64, expected string"),
        (pa.table({"image_url": ["x"], "image": ["y"]}), "nothing to fetch"),
        (pa.table({"image_url": pa.array([], pa.string())}), "no rows"),
    ],
)
def test_inputs_that_cannot_be_used(tmp_path: Path, table: pa.Table, message: str) -> None:
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(DataError, match=message):
        run(tmp_path / "in.parquet", tmp_path / "out")
