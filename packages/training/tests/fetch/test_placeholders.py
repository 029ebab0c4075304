"""One image behind many links: reported, and dropped on request."""

from __future__ import annotations

import json
from pathlib import Path

from edge_glass.training.fetch.input import Folder
from fetching import images, manifest, run, shard_hashes, write_input
from hostile_server import HostileServer, png


def summary(out: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(Folder(out).summary.read_text())["placeholders"]
    return found


def test_placeholders_are_reported_and_dropped_on_request(tmp_path: Path) -> None:
    with HostileServer() as server:
        urls = [
            server.url(f"{'card' if number % 2 else 'ok'}/{number + 1}") for number in range(12)
        ]
        source = write_input(tmp_path / "in.parquet", [*urls, urls[1]])
        found = run(source, tmp_path / "kept", placeholder_links=6)
        assert images(tmp_path / "kept").count(png(0)) == 7  # six links, one of them in two rows
        assert any(
            "6 different links return the same image" in line
            for line in found.lines(Folder(tmp_path))
        )
        (kept,) = summary(tmp_path / "kept")
        assert (kept["links"], kept["dropped"]) == (6, 0)

        # a threshold that is not reached changes nothing
        run(source, tmp_path / "kept", placeholder_links=7, drop_placeholders=True)
        assert summary(tmp_path / "kept") == []
        assert images(tmp_path / "kept").count(png(0)) == 7

        hits = server.hits.total()
        found = run(source, tmp_path / "kept", placeholder_links=6, drop_placeholders=True)
        assert server.hits.total() == hits
        assert found.totals.statuses["placeholder"] == 6
        assert images(tmp_path / "kept").count(png(0)) == 0
        assert images(tmp_path / "kept").count(None) == 7
        assert [row["status"] for row in manifest(tmp_path / "kept").values()] == [
            "ok",
            "placeholder",
        ] * 6
        assert summary(tmp_path / "kept")[0]["dropped"] == 6

        # dropped in the first run: the same bytes; and they stay dropped
        run(source, tmp_path / "first", placeholder_links=6, drop_placeholders=True)
        assert shard_hashes(tmp_path / "first") == shard_hashes(tmp_path / "kept")
        run(source, tmp_path / "first", placeholder_links=6)
        assert shard_hashes(tmp_path / "first") == shard_hashes(tmp_path / "kept")


def test_a_link_that_works_again_is_kept(tmp_path: Path) -> None:
    with HostileServer() as server:
        urls = [server.url(f"moved/{number}") for number in range(4)]
        source = write_input(tmp_path / "in.parquet", list(urls))
        server.locations = {f"/moved/{number}": "/card/9" for number in range(4)}
        options = {"placeholder_links": 3, "drop_placeholders": True}
        assert run(source, tmp_path / "out", **options).totals.statuses["placeholder"] == 4
        del server.locations["/moved/2"]
        found = run(source, tmp_path / "out", retry_failed=True, **options)
        assert (found.totals.statuses["placeholder"], found.totals.statuses["ok"]) == (3, 1)
        assert images(tmp_path / "out") == [None, None, png(2), None]
