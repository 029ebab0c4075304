"""Which rows and shards refer to which image, in about 60 bytes per image.

Images are numbered by the first appearance of their URL. No URL is kept in memory: `urls` reads
the slices again, in order, and so meets the images in the order of their numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge_glass.training.fetch.input import Folder, Plan, read_column

KEY = np.dtype(">u8")


def url_hash(url: str) -> str:
    """Returns the SHA-256 of a URL in hex, its name in the manifest and in mirrors."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


class Index:
    """Rows, images and shards as arrays.

    Attributes:
        row_image: (rows,) the image of each row, -1 if the row has no URL.
        count: number of images.
        first_shard, last_shard: (images,) the first and the last shard that refer to an image.
        first_needed: (shards,) the first shard that refers to an image whose last shard this is.
        expected: (images, 32) published SHA-256, or None if there is none to check.
        has_expected: (images,) whether the published SHA-256 is known.
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
        self.row_image = np.full(plan.rows, -1, np.int32)
        self.row_image[order] = rank[np.cumsum(new) - 1]
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
        pairs = self.row_image[rows].astype(np.int64) * shards
        pairs += rows // self.plan.rows_per_shard
        pairs = np.unique(pairs)
        self.pair_image = (pairs // shards).astype(np.int32)
        self.pair_shard = (pairs % shards).astype(np.int32)
        self._starts = np.searchsorted(self.pair_image, np.arange(self.count + 1))
        self.first_shard = self.pair_shard[self._starts[:-1]]
        self.last_shard = self.pair_shard[self._starts[1:] - 1]
        self.first_needed = np.arange(shards)
        np.minimum.at(self.first_needed, self.last_shard, self.first_shard)

    def _read_expected(self) -> None:
        self.expected = np.zeros((self.count, 32), np.uint8)
        for start, hashes in self._slices("image_sha256"):
            for row, text in enumerate(hashes, start):
                image = self.row_image[row]
                if image >= 0 and text and not self.has_expected[image]:
                    try:
                        digest = bytes.fromhex(text)
                    except ValueError:
                        continue  # not a hash: nothing to compare with
                    if len(digest) == 32:
                        self.expected[image] = np.frombuffer(digest, np.uint8)
                        self.has_expected[image] = True

    def shards_of(self, image: int) -> list[int]:
        """Returns the shards whose rows refer to an image."""
        shards: list[int] = self.pair_shard[self._starts[image] : self._starts[image + 1]].tolist()
        return shards

    def rows_of_shard(self, shard: int) -> NDArray[np.int32]:
        """Returns the image of each row of a shard, -1 for none."""
        size = self.plan.rows_per_shard
        return self.row_image[shard * size : (shard + 1) * size]

    def expected_sha256(self, image: int) -> str | None:
        """Returns the published SHA-256 in hex."""
        if self.expected is None or not self.has_expected[image]:
            return None
        digest: bytes = self.expected[image].tobytes()
        return digest.hex()

    def find(self, hashed: str) -> int:
        """Returns the image with a URL hash (see `url_hash`), or -1 if no row has that URL."""
        high, low = np.frombuffer(bytes.fromhex(hashed[:32]), KEY).astype(np.uint64)
        position = int(np.searchsorted(self._high, high))
        while position < self.count and self._high[position] == high:
            if self._low[position] == low:
                return int(self._ranks[position])
            position += 1
        return -1

    def urls(self) -> Iterator[tuple[int, str]]:
        """Yields the number and URL of every image, in order, with one slice in memory."""
        following = 0
        for start, urls in self._slices("image_url"):
            images = self.row_image[start : start + len(urls)].tolist()
            for image, url in zip(images, urls, strict=True):
                if image == following:
                    assert url is not None
                    yield image, url
                    following += 1
