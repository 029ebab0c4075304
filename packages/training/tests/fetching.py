"""Short fetches against a server on loopback, and what came out; tests of fetch share this."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp.abc import AbstractResolver, ResolveResult

from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.report import Summary
from edge_glass.training.fetch.session import fetch

CONFIG: dict[str, Any] = {
    "allow_private": True,
    "processes": 0,
    "concurrency": 16,
    "backoff": 0.01,
    "max_retry_after": 0.05,
    "total_timeout": 20.0,
    "max_attempts": 4,
    "rows_per_shard": 5,
    "max_bytes": 2**20,
}


def write_input(path: Path, urls: list[str | None], **columns: list[Any]) -> Path:
    captions = [f"caption {number}" for number in range(len(urls))]
    pq.write_table(pa.table({"image_url": urls, "caption": captions, **columns}), path)
    return path


def run(source: Path, out: Path, **options: Any) -> Summary:
    return fetch(source, out, FetchConfig(**{**CONFIG, **options}))


def rows(out: Path) -> list[dict[str, Any]]:
    files = sorted(out.glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def images(out: Path) -> list[bytes | None]:
    return [(row["image"] or {}).get("bytes") for row in rows(out)]


def manifest(out: Path) -> dict[str, dict[str, Any]]:
    return {
        row["url"]: row for row in pq.read_table(out / "report" / "manifest.parquet").to_pylist()
    }


def manifest_without_times(out: Path) -> dict[str, dict[str, Any]]:
    return {url: {**row, "time": None} for url, row in manifest(out).items()}


def shard_hashes(out: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.parquet")
    }


class Names(AbstractResolver):
    """Resolves any name to the next list of addresses each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.resolved = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self.answers[min(self.resolved, len(self.answers) - 1)]
        self.resolved += 1
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass
