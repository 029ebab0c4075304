"""Hashes and writes parts of a file in two threads, while the next part is computed.

Both release Python's lock. A shard of CLIP's features grows by a gigabyte per second on a GPU: one
thread that also hashes and writes would be the limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hashlib import _Hash

WAITING = 2  # parts in memory that are not yet hashed and written, besides the newest


@contextmanager
def writing_behind(file: BinaryIO, digest: _Hash) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Yields a function that takes the next part; all are hashed and written when it ends.

    A part must not change after it was given. An error of a write is raised by one of the next
    calls, or at the end.
    """
    with ThreadPoolExecutor(1) as hashing, ThreadPoolExecutor(1) as writing:
        waiting: deque[tuple[Future[Any], ...]] = deque()

        def add(part: NDArray[Any]) -> None:
            data: Any = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
            both = hashing.submit(digest.update, data), writing.submit(file.write, data)
            waiting.append(both)
            if len(waiting) > WAITING:
                _finish(waiting)

        yield add
        while waiting:
            _finish(waiting)


def _finish(waiting: deque[tuple[Future[Any], ...]]) -> None:
    for future in waiting.popleft():
        future.result()
