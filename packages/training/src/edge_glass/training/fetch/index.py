"""Which rows and shards name which picture, in about 60 bytes a picture.

A picture's number is the rank of its url's first appearance. No url is kept in memory: whoever
needs them reads the slices again, in order, and meets each picture for the first time at its turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.slices import Plan, read_column

KEY = np.dtype(">u8")


def url_hash(url: str) -> str:
    """Returns the SHA-256 of a url in hex: its name in the manifest and in mirrors."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


class Index:
    """Rows, pictures and shards as arrays.

    Attributes:
        row_picture: (rows,) the picture of each row, -1 where it names none.
        count: pictures.
        first_shard, last_shard: (pictures,) between which a picture is named.
        first_named: (shards,) the first shard that names a picture whose last shard this is.
        expected: (pictures, 32) published SHA-256, or None where there is none to check.
        has_expected: (pictures,) whether it is known.
    """

    def __init__(self, folder: Folder, plan: Plan, *, with_sha256: bool) -> None:
        self.folder = folder
        self.plan = plan
        high, low, valid = self._keys()
        rows = np.flatnonzero(valid)
        # by key, then by row: both sorts of lexsort are stable
        order = rows[np.lexsort((low[rows], high[rows]))]
        new = np.ones(len(order), bool)
        new[1:] = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
        first_rows = order[new]
        self.count = len(first_rows)
        rank = np.empty(self.count, np.int32)
        rank[np.argsort(first_rows)] = np.arange(self.count, dtype=np.int32)
        self.row_picture = np.full(plan.rows, -1, np.int32)
        self.row_picture[order] = rank[np.cumsum(new) - 1]
        self._high, self._low, self._ranks = high[first_rows], low[first_rows], rank
        self._pair_shards(rows)
        self.expected: NDArray[np.uint8] | None = None
        self.has_expected = np.zeros(self.count, bool)
        if with_sha256 and plan.has_sha256:
            self._read_expected()

    def _keys(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
        high = np.zeros(self.plan.rows, np.uint64)
        low = np.zeros(self.plan.rows, np.uint64)
        valid = np.zeros(self.plan.rows, bool)
        for start, urls in self._slices("image_url"):
            digests = b"".join(
                hashlib.sha256((url or "").encode("utf-8", "surrogatepass")).digest()[:16]
                for url in urls
            )
            keys = np.frombuffer(digests, KEY).reshape(-1, 2)
            here = slice(start, start + len(urls))
            high[here], low[here] = keys[:, 0], keys[:, 1]
            valid[here] = [bool(url) for url in urls]
        return high, low, valid

    def _slices(self, column: str) -> Iterator[tuple[int, list[str | None]]]:
        for number in range(self.plan.shards):
            yield (
                number * self.plan.rows_per_shard,
                read_column(self.folder.slice(number), column),
            )

    def _pair_shards(self, rows: NDArray[np.intp]) -> None:
        shards = self.plan.shards
        pairs = self.row_picture[rows].astype(np.int64) * shards
        pairs += rows // self.plan.rows_per_shard
        pairs = np.unique(pairs)
        self.pair_picture = (pairs // shards).astype(np.int32)
        self.pair_shard = (pairs % shards).astype(np.int32)
        self._starts = np.searchsorted(self.pair_picture, np.arange(self.count + 1))
        self.first_shard = self.pair_shard[self._starts[:-1]]
        self.last_shard = self.pair_shard[self._starts[1:] - 1]
        self.first_named = np.arange(shards)
        np.minimum.at(self.first_named, self.last_shard, self.first_shard)

    def _read_expected(self) -> None:
        self.expected = np.zeros((self.count, 32), np.uint8)
        for start, hashes in self._slices("image_sha256"):
            for row, text in enumerate(hashes, start):
                picture = self.row_picture[row]
                if picture >= 0 and text and not self.has_expected[picture]:
                    try:
                        digest = bytes.fromhex(text)
                    except ValueError:
                        continue  # no hash: nothing to compare with
                    if len(digest) == 32:
                        self.expected[picture] = np.frombuffer(digest, np.uint8)
                        self.has_expected[picture] = True

    def shards_of(self, picture: int) -> list[int]:
        """Returns the shards whose rows name a picture."""
        shards: list[int] = self.pair_shard[
            self._starts[picture] : self._starts[picture + 1]
        ].tolist()
        return shards

    def rows_of_shard(self, shard: int) -> NDArray[np.int32]:
        """Returns the picture of each row of a shard."""
        size = self.plan.rows_per_shard
        return self.row_picture[shard * size : (shard + 1) * size]

    def expected_sha256(self, picture: int) -> str | None:
        """Returns the published SHA-256 in hex."""
        if self.expected is None or not self.has_expected[picture]:
            return None
        digest: bytes = self.expected[picture].tobytes()
        return digest.hex()

    def find(self, hashed: str) -> int:
        """Returns the picture of a url hash (see `url_hash`), -1 where no row names it."""
        high, low = np.frombuffer(bytes.fromhex(hashed[:32]), KEY).astype(np.uint64)
        place = int(np.searchsorted(self._high, high))
        while place < self.count and self._high[place] == high:
            if self._low[place] == low:
                return int(self._ranks[place])
            place += 1
        return -1

    def urls(self) -> Iterator[tuple[int, str]]:
        """Yields every picture and its url, in order, a slice in memory at a time."""
        following = 0
        for start, urls in self._slices("image_url"):
            pictures = self.row_picture[start : start + len(urls)].tolist()
            for picture, url in zip(pictures, urls, strict=True):
                if picture == following:
                    assert url is not None
                    yield picture, url
                    following += 1
