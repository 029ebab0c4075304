"""What becomes of every text, once all row groups have been looked at.

The only part of `prepare` that sees the data set as a whole: the first-seen split of a picture,
near-duplicates and the numbers of pictures in their files. All of it is arrays, and the order is
that of the row groups, so that it doesn't matter who looked at them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_glass.training.prepare.filters import PrepareConfig
from edge_glass.training.prepare.inspection import DIGEST_BYTES, Findings
from edge_glass.training.prepare.near_duplicates import find_lookalikes

ANOTHER_SPLIT = "image_of_another_split"
NEAR_DUPLICATE = "near_duplicate"

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What becomes of the n texts of one row group.

    Attributes:
        names: what `splits` counts in.
        splits: (n,) int16.
        images: (n,) int64, the row of the text's picture in its file; -1 where it is dropped.
        fresh: (n,) whether it is the first text of that picture, with which it is written.
        digests: (m, 16) uint8, as in the findings.
        pictures: (n,) int32, as in the findings.
    """

    names: tuple[str, ...]
    splits: NDArray[np.int16] = field(repr=False)
    images: Integers = field(repr=False)
    fresh: NDArray[np.bool_] = field(repr=False)
    digests: NDArray[np.uint8] = field(repr=False)
    pictures: NDArray[np.int32] = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decisions:
    """The decisions of all row groups, and what to report of them.

    Attributes:
        of_groups: in the order of the findings.
        reports: kind to the counts of its rows, texts, pictures and drops.
        near_duplicates: counts of the pictures that are kept and look like others; None where
            nobody looked.
    """

    of_groups: list[Decision] = field(repr=False)
    reports: dict[str, dict[str, Any]]
    near_duplicates: dict[str, Any] | None


def decide(findings: Sequence[Findings], kinds: Sequence[str], config: PrepareConfig) -> Decisions:
    """Decides about every text.

    Args:
        findings: of all row groups, in order.
        kinds: "captions" or "questions" for each of them.
        config: what is kept.
    """
    names = tuple(dict.fromkeys(name for each in findings for name in each.names))
    names = tuple(dict.fromkeys(("", *names, ANOTHER_SPLIT, NEAR_DUPLICATE)))
    pictures, hashes = _distinct_pictures(findings)
    problems, splits = (_renamed(findings, names, column) for column in ("problems", "splits"))
    # one picture, one split, across all sub-sets: the first one seen keeps it
    split_of = np.full(len(hashes), -1, dtype=np.int16)
    fine = np.flatnonzero(problems == 0)
    seen, first = np.unique(pictures[fine], return_index=True)
    split_of[seen] = splits[fine[first]]
    stray = (problems == 0) & (split_of[pictures] != splits)
    problems[stray] = names.index(ANOTHER_SPLIT)
    order = seen[np.argsort(first, kind="stable")]  # the pictures in use, as they come
    report = None
    if (distance := config.near_duplicate_distance) is not None:
        alike = find_lookalikes(hashes[order], split_of[order].astype(np.int64), distance)
        if config.near_duplicates != "keep":
            across = config.near_duplicates == "drop_across_splits"
            dropped = alike.earlier_across if across else alike.earlier
            lost = np.zeros(len(hashes), dtype=bool)
            lost[order[dropped]] = True
            problems[lost[pictures] & (problems == 0)] = names.index(NEAR_DUPLICATE)
            order = order[~dropped]
            alike = find_lookalikes(hashes[order], split_of[order].astype(np.int64), distance)
        found = Counter(names[code] for code in split_of[order[alike.across]])
        report = {
            "distance": distance,
            "pictures": int(alike.any_split.sum()),
            "across_splits": dict(sorted(found.items())),
        }
    return _number(findings, kinds, names, pictures, problems, splits, report)


def _number(
    findings: Sequence[Findings],
    kinds: Sequence[str],
    names: tuple[str, ...],
    pictures: NDArray[np.int32],
    problems: NDArray[np.int16],
    splits: NDArray[np.int16],
    near_duplicates: dict[str, Any] | None,
) -> Decisions:
    """Numbers the pictures of each kind and split by their first kept text."""
    sizes = [len(each.pictures) for each in findings]
    stops = np.cumsum(sizes)
    kind_of_text = np.repeat(np.array(kinds), sizes)
    images = np.full(len(pictures), -1, dtype=np.int64)
    fresh = np.zeros(len(pictures), dtype=bool)
    reports: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(kinds):
        own = kind_of_text == kind
        rows_kept: dict[str, int] = {}
        images_kept: dict[str, int] = {}
        kept_codes = np.unique(splits[own & (problems == 0)]).tolist()
        for code in sorted(kept_codes, key=names.__getitem__):
            kept = np.flatnonzero(own & (problems == 0) & (splits == code))
            _, first, which = np.unique(pictures[kept], return_index=True, return_inverse=True)
            rank = np.empty(len(first), dtype=np.int64)
            rank[np.argsort(first, kind="stable")] = np.arange(len(first))
            images[kept] = rank[which]
            fresh[kept[first]] = True
            rows_kept[names[code]] = len(kept)
            images_kept[names[code]] = len(first)
        counts = np.bincount(problems[own], minlength=len(names))
        dropped = {names[code]: int(counts[code]) for code in np.flatnonzero(counts) if code}
        read = sum(each.num_rows for each, its in zip(findings, kinds, strict=True) if its == kind)
        reports[kind] = {
            "rows_read": read,
            "texts_read": int(own.sum()),
            "rows_kept": rows_kept,
            "images_kept": images_kept,
            "dropped": dict(sorted(dropped.items())),
        }
    of_groups = [
        Decision(
            names=names,
            splits=splits[stop - size : stop],
            images=images[stop - size : stop],
            fresh=fresh[stop - size : stop],
            digests=each.digests,
            pictures=each.pictures,
        )
        for each, size, stop in zip(findings, sizes, stops, strict=True)
    ]
    return Decisions(of_groups=of_groups, reports=reports, near_duplicates=near_duplicates)


def _distinct_pictures(
    findings: Sequence[Findings],
) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
    """Returns each text's picture, counted over all row groups, and each picture's hash."""
    digests = np.concatenate([each.digests for each in findings])
    keys = np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}").reshape(-1)
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    sizes = [len(each.digests) for each in findings]
    starts = np.cumsum(sizes) - sizes
    pictures = np.concatenate(
        [which[start + each.pictures] for each, start in zip(findings, starts, strict=True)]
    )
    hashes = np.concatenate([each.hashes for each in findings])[first]
    return pictures.astype(np.int32), hashes


def _renamed(
    findings: Sequence[Findings], names: tuple[str, ...], column: str
) -> NDArray[np.int16]:
    """Returns a column of all findings, counted in `names` instead of their own."""
    place = {name: number for number, name in enumerate(names)}
    return np.concatenate(
        [
            np.array([place[name] for name in each.names], dtype=np.int16)[getattr(each, column)]
            for each in findings
        ]
    )
