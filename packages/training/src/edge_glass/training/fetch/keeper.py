"""Judges bodies and keeps the pictures among them: what a worker process does.

The body stays here: back to the event loop goes the finished line of the journal, or the reason
for there being none.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_glass.encoders.images import BadImageError
from edge_glass.training.fetch.journal import encode
from edge_glass.training.fetch.packs import Packs
from edge_glass.training.fetch.picture import Facts, picture_facts

MISMATCH = "sha256_mismatch"


class Arrival(NamedTuple):
    """A body, and what is known of it: a plain tuple, because thousands cross a pipe a second."""

    picture: int
    home: int  # the last shard that names it
    attempts: int  # 0: from a mirror
    expected: str | None  # published SHA-256
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Arrivals, and how to judge them."""

    packs: Path
    run: int
    max_pixels: int
    strict: bool
    arrivals: list[Arrival]


class Rejection(NamedTuple):
    """Why a body is not kept."""

    reason: str
    detail: str


def keep_pictures(batch: Batch) -> list[bytes | Rejection]:
    """Returns a journal line for each arrival that is kept, a rejection for each other."""
    verdicts: list[Facts | Rejection] = []
    for arrival in batch.arrivals:
        try:
            facts = picture_facts(arrival.body, batch.max_pixels)
        except BadImageError as error:
            verdicts.append(Rejection(error.reason, str(error)))
            continue
        if batch.strict and arrival.expected not in (None, facts.sha256):
            detail = f"found {facts.sha256}, published {arrival.expected}"
            verdicts.append(Rejection(MISMATCH, detail))
        else:
            verdicts.append(facts)
    pairs = list(zip(batch.arrivals, verdicts, strict=True))
    kept = [(each.home, each.body) for each, facts in pairs if isinstance(facts, Facts)]
    places = iter(_packs(batch.packs, batch.run).append(kept))
    now = time.time()
    return [
        facts if isinstance(facts, Rejection) else _line(each, facts, *next(places), now)
        for each, facts in pairs
    ]


def _line(arrival: Arrival, facts: Facts, pack: str, offset: int, now: float) -> bytes:
    expected = arrival.expected
    return encode(
        {
            "picture": arrival.picture,
            "status": "ok",
            "attempts": arrival.attempts,
            "time": now,
            "source": "web" if arrival.attempts else "mirror",
            "bytes": len(arrival.body),
            "sha256": facts.sha256,
            "sha256_matches": None if expected is None else expected == facts.sha256,
            "perceptual_hash": facts.perceptual_hash,
            "width": facts.width,
            "height": facts.height,
            "format": facts.format,
            "pack": pack,
            "offset": offset,
        }
    )


@functools.cache
def _packs(folder: Path, run: int) -> Packs:
    return Packs(folder, run)


def close_packs(folder: Path, run: int) -> None:
    """Closes this process's packs of a run; the end of a process does it by itself."""
    _packs(folder, run).close()
