"""The limits of a fetch: number of requests, time, size, and which images are accepted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from edge_glass.encoders.files import DataError

Sha256Policy = Literal["off", "warn", "strict"]
USER_AGENT = "edge-glass-fetch/0.1 (downloads the pictures of a published data set for research)"


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """The options of `edge-glass fetch`.

    Attributes:
        concurrency: maximum number of parallel requests.
        per_host: maximum number of parallel requests to one host.
        processes: worker processes that decode and hash images and write shards; with 0 a thread
            of this process does it.
        connect_timeout: seconds for a connection.
        read_timeout: seconds without a received byte.
        total_timeout: seconds per image, redirects included; this ends a slow drip.
        max_attempts: requests per image in one run.
        backoff: seconds before the second attempt, doubled for each further one.
        max_backoff: the longest wait, in seconds.
        max_retry_after: the longest `Retry-After` that is obeyed, in seconds.
        max_redirects: redirects that are followed per image.
        max_bytes: file size of an image.
        max_pixels: pixels of an image, read from its header before it is decoded.
        image_sha256: what to do if the published hash differs: "off" (do not compare), "warn"
            (count and keep) or "strict" (refuse).
        allow_private: whether requests to private, loopback and link-local addresses are allowed.
        retry_failed: retry what failed in an earlier run, except the dead (404, 410).
        retry_dead: retry the dead ones too.
        mirrors: folders or Parquet files with images by URL hash; they are read before any request.
        rows_per_shard: input rows per shard.
        min_success: the command fails if a smaller share of the images is there.
        user_agent: sent with each request.
        proxy: the URL of the proxy that all requests go through; it may hold a password.
        placeholder_links: an image that so many different links return is a placeholder.
        drop_placeholders: whether rows with a placeholder lose it; otherwise it is reported only.
        seed: of the jitter.
    """

    concurrency: int = 128
    per_host: int = 16
    processes: int = 1
    connect_timeout: float = 10.0
    read_timeout: float = 20.0
    total_timeout: float = 120.0
    max_attempts: int = 5
    backoff: float = 1.0
    max_backoff: float = 60.0
    max_retry_after: float = 120.0
    max_redirects: int = 5
    max_bytes: int = 50 * 2**20
    max_pixels: int = 89_478_485  # Pillow's own limit: 256 MiB of RGB pixels
    image_sha256: Sha256Policy = "warn"
    allow_private: bool = False
    retry_failed: bool = False
    retry_dead: bool = False
    mirrors: tuple[Path, ...] = ()
    rows_per_shard: int = 2000
    min_success: float = 0.9
    user_agent: str = USER_AGENT
    proxy: str | None = field(default=None, repr=False)
    placeholder_links: int = 10
    drop_placeholders: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        minimums = {
            "concurrency": 1,
            "per_host": 1,
            "processes": 0,
            "max_attempts": 1,
            "backoff": 0,
            "max_backoff": 0,
            "max_retry_after": 0,
            "max_redirects": 0,
            "max_bytes": 1,
            "max_pixels": 1,
            "rows_per_shard": 1,
            "placeholder_links": 2,
        }
        for name, minimum in minimums.items():
            if getattr(self, name) < minimum:
                raise DataError(f"{name} is {getattr(self, name)}, expected {minimum} or more")
        for name in ("connect_timeout", "read_timeout", "total_timeout"):
            if getattr(self, name) <= 0:
                raise DataError(f"{name} is {getattr(self, name)} seconds, expected more than 0")
        if not 0 <= self.min_success <= 1:
            raise DataError(f"min_success is {self.min_success}, expected a share from 0 to 1")
        if self.image_sha256 not in get_args(Sha256Policy):
            allowed = ", ".join(get_args(Sha256Policy))
            raise DataError(f"image_sha256 is {self.image_sha256!r}; choose one of {allowed}")
        if not self.user_agent.strip() or not self.user_agent.isprintable():
            raise DataError(
                f"user_agent is {self.user_agent!r}, expected one line with your name or address"
            )
        for mirror in self.mirrors:
            if not mirror.exists():
                raise DataError(f"mirror {mirror} does not exist: name a folder or a Parquet file")
