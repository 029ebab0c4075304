"""The plan of what to write, made from the inspections of all row groups.

The only part of `prepare` that sees the whole data set: the split of an image by its first text,
near-duplicates, and the numbers of the images in their files. Everything is arrays in the order of
the row groups, so it does not matter which process inspected them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_glass.training.prepare.filters import PrepareConfig
from edge_glass.training.prepare.inspection import DIGEST_BYTES, Inspection
from edge_glass.training.prepare.near_duplicates import find_lookalikes

OTHER_SPLIT = "image_of_another_split"
NEAR_DUPLICATE = "near_duplicate"
CAPTIONS = "captions"

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupPlan:
    """What to write of the n texts of one row group.

    Attributes:
        names: the names that `splits` index.
        splits: (n,) int16.
        image_rows: (n,) int64, the row of the text's image in its file; -1 if the text is dropped.
        first: (n,) whether it is the first text of its image; the image is written with it.
        digests: (m, 16) uint8, as in the inspection.
        images, rows: (n,) int32, as in the inspection.
        problems: (n,) int16, indices into `names`: why the text is dropped; 0 if it is not.
        found: names of the columns that the files of this kind have beyond the fixed ones.
    """

    names: tuple[str, ...]
    splits: NDArray[np.int16] = field(repr=False)
    image_rows: Integers = field(repr=False)
    first: NDArray[np.bool_] = field(repr=False)
    digests: NDArray[np.uint8] = field(repr=False)
    images: NDArray[np.int32] = field(repr=False)
    rows: NDArray[np.int32] = field(repr=False)
    problems: NDArray[np.int16] = field(repr=False)
    found: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The plans of all row groups, and the counts to report.

    Attributes:
        groups: in the order of the inspections.
        reports: from a kind to the counts of its rows, texts, images and drops.
        near_duplicates: counts of the kept images that look like others; None if near-duplicates
            were not searched.
    """

    groups: list[GroupPlan] = field(repr=False)
    reports: dict[str, dict[str, Any]]
    near_duplicates: dict[str, Any] | None


def make_plan(results: Sequence[Inspection], kinds: Sequence[str], config: PrepareConfig) -> Plan:
    """Decides for every text whether it is kept, and in which file; `results` are in order."""
    names = tuple(dict.fromkeys(name for result in results for name in result.names))
    names = tuple(dict.fromkeys(("", *names, OTHER_SPLIT, NEAR_DUPLICATE)))
    images, hashes = _distinct_images(results)
    problems, splits = (_renamed(results, names, column) for column in ("problems", "splits"))
    # one image, one split, across all sub-sets: the first usable text decides
    split_of = np.full(len(hashes), -1, dtype=np.int16)
    usable = np.flatnonzero(problems == 0)
    used, first = np.unique(images[usable], return_index=True)
    split_of[used] = splits[usable[first]]
    stray = (problems == 0) & (split_of[images] != splits)
    problems[stray] = names.index(OTHER_SPLIT)
    order = used[np.argsort(first, kind="stable")]  # the used images, by their first text
    near_duplicates = None
    if (distance := config.near_duplicate_distance) is not None:
        alike = find_lookalikes(hashes[order], split_of[order].astype(np.int64), distance)
        if config.near_duplicates != "keep":
            across = config.near_duplicates == "drop_across_splits"
            dropped = alike.earlier_across if across else alike.earlier
            is_dropped = np.zeros(len(hashes), dtype=bool)
            is_dropped[order[dropped]] = True
            problems[is_dropped[images] & (problems == 0)] = names.index(NEAR_DUPLICATE)
            order = order[~dropped]
            alike = find_lookalikes(hashes[order], split_of[order].astype(np.int64), distance)
        counts = Counter(names[code] for code in split_of[order[alike.across]])
        near_duplicates = {
            "distance": distance,
            "pictures": int(alike.any_split.sum()),
            "across_splits": dict(sorted(counts.items())),
        }
    return _number_images(results, kinds, names, images, problems, splits, near_duplicates)


def _number_images(
    results: Sequence[Inspection],
    kinds: Sequence[str],
    names: tuple[str, ...],
    images: NDArray[np.int32],
    problems: NDArray[np.int16],
    splits: NDArray[np.int16],
    near_duplicates: dict[str, Any] | None,
) -> Plan:
    """Numbers the images of each kind and split by their first kept text."""
    sizes = [len(result.images) for result in results]
    stops = np.cumsum(sizes)
    kind_of_text = np.repeat(np.array(kinds), sizes)
    image_rows = np.full(len(images), -1, dtype=np.int64)
    is_first = np.zeros(len(images), dtype=bool)
    reports: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(kinds):
        of_kind = kind_of_text == kind
        rows_kept: dict[str, int] = {}
        images_kept: dict[str, int] = {}
        kept_codes = np.unique(splits[of_kind & (problems == 0)]).tolist()
        for code in sorted(kept_codes, key=names.__getitem__):
            kept = np.flatnonzero(of_kind & (problems == 0) & (splits == code))
            _, first, inverse = np.unique(images[kept], return_index=True, return_inverse=True)
            rank = np.empty(len(first), dtype=np.int64)
            rank[np.argsort(first, kind="stable")] = np.arange(len(first))
            image_rows[kept] = rank[inverse]
            is_first[kept[first]] = True
            rows_kept[names[code]] = len(kept)
            images_kept[names[code]] = len(first)
        counts = np.bincount(problems[of_kind], minlength=len(names))
        dropped = {names[code]: int(counts[code]) for code in np.flatnonzero(counts) if code}
        pairs = zip(results, kinds, strict=True)
        reports[kind] = {
            "rows_read": sum(result.num_rows for result, own_kind in pairs if own_kind == kind),
            "texts_read": int(of_kind.sum()),
            "rows_kept": rows_kept,
            "images_kept": images_kept,
            "dropped": dict(sorted(dropped.items())),
        }
        if kind == CAPTIONS:
            kept = of_kind & (problems == 0)
            shared = _captions_of_several_images(results, images, kept)
            reports[kind]["captions_of_several_images"] = shared
    found: dict[str, frozenset[str]] = {}
    for result, kind in zip(results, kinds, strict=True):
        found[kind] = found.get(kind, frozenset()) | result.found
    groups = [
        GroupPlan(
            names=names,
            splits=splits[stop - size : stop],
            image_rows=image_rows[stop - size : stop],
            first=is_first[stop - size : stop],
            digests=result.digests,
            images=result.images,
            rows=result.rows,
            problems=problems[stop - size : stop],
            found=found[kind],
        )
        for result, kind, size, stop in zip(results, kinds, sizes, stops, strict=True)
    ]
    return Plan(groups=groups, reports=reports, near_duplicates=near_duplicates)


def _captions_of_several_images(
    results: Sequence[Inspection], images: NDArray[np.int32], kept: NDArray[np.bool_]
) -> int:
    """Counts the captions, by their canonical form, that two or more images have."""
    captions = np.concatenate([result.captions for result in results])[kept]
    pairs = np.stack([captions, images[kept].astype(np.uint64)], axis=1)
    _, counts = np.unique(np.unique(pairs, axis=0)[:, 0], return_counts=True)
    return int((counts > 1).sum())


def _distinct_images(results: Sequence[Inspection]) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
    """Returns the image of each text, numbered over all row groups, and the hash of each image."""
    digests = np.concatenate([result.digests for result in results])
    keys = np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}").reshape(-1)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    sizes = [len(result.digests) for result in results]
    starts = np.cumsum(sizes) - sizes
    images = np.concatenate(
        [inverse[start + result.images] for result, start in zip(results, starts, strict=True)]
    )
    hashes = np.concatenate([result.hashes for result in results])[first]
    return images.astype(np.int32), hashes


def _renamed(
    results: Sequence[Inspection], names: tuple[str, ...], column: str
) -> NDArray[np.int16]:
    """Returns a column of all results, as indices into `names` instead of their own names."""
    code_of = {name: code for code, name in enumerate(names)}
    return np.concatenate(
        [
            np.array([code_of[name] for name in result.names], np.int16)[getattr(result, column)]
            for result in results
        ]
    )
