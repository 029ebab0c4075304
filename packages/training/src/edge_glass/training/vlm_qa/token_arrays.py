"""Packed questions as flat arrays in files that all processes and workers map.

As Python lists, the tokens of half a million images take tens of GB in each process.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_glass.encoders.files import DataError
from edge_glass.fusion.prompt import IGNORED

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class PackedQuestions:
    """Questions or conversations of one image, one after the other.

    Attributes:
        image: the image's row in the feature cache.
        input_ids: T token ids.
        labels: T labels, -100 over the prompts.
        segment_ids: T numbers of conversations.
    """

    image: int
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    segment_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenArrays:
    """S packed rows of T tokens in all, indexed like a list of `PackedQuestions`.

    Attributes:
        images: (S,) the image of each row.
        starts: (S + 1,) where the tokens of each row begin, and T.
        labelled: (S,) tokens of each row that are learned.
        conversations: (S,) how many conversations each row has.
        longest: (S,) tokens of each row's longest conversation.
        input_ids, labels, segment_ids: (T,) int32.
        folder: of the files that are mapped, None if the arrays are in memory.
    """

    images: Integers
    starts: Integers
    labelled: Integers
    conversations: Integers
    longest: Integers
    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    segment_ids: NDArray[np.int32]
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> PackedQuestions:
        if not 0 <= number < len(self):
            raise IndexError(f"row {number} of {len(self)}")
        part = slice(int(self.starts[number]), int(self.starts[number + 1]))
        return PackedQuestions(
            image=int(self.images[number]),
            input_ids=tuple(self.input_ids[part].tolist()),
            labels=tuple(self.labels[part].tolist()),
            segment_ids=tuple(self.segment_ids[part].tolist()),
        )

    def __iter__(self) -> Iterator[PackedQuestions]:
        return (self[number] for number in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        # a worker maps the files itself: pickling a mapped array would copy its content
        if self.folder is None:
            return _rebuilt, ([getattr(self, name) for name in ARRAYS],)
        return open_token_arrays, (self.folder,)

    @property
    def lengths(self) -> Integers:
        """(S,) tokens of each row."""
        return np.diff(self.starts)

    def save(self, folder: Path) -> None:
        """Writes one file per array."""
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)


ARRAYS = tuple(each.name for each in fields(TokenArrays) if each.name != "folder")


def token_arrays(samples: Iterable[PackedQuestions]) -> TokenArrays:
    """Copies rows into arrays, one row after the other."""
    rows = {name: array("q") for name in ARRAYS[:5]}
    tokens = {name: array("i") for name in ARRAYS[5:]}
    rows["starts"].append(0)
    for sample in samples:
        sizes = Counter(sample.segment_ids).values()
        rows["images"].append(sample.image)
        rows["labelled"].append(sum(label != IGNORED for label in sample.labels))
        rows["conversations"].append(len(sizes))
        rows["longest"].append(max(sizes))
        for name, values in tokens.items():
            values.extend(getattr(sample, name))
        rows["starts"].append(len(tokens["input_ids"]))
    return _rebuilt(
        [np.array(values, np.int64) for values in rows.values()]
        + [np.array(values, np.int32) for values in tokens.values()]
    )


def joined_arrays(first: TokenArrays, second: TokenArrays, num_images: int) -> TokenArrays:
    """Returns the rows of both; images of the second count from `num_images` on."""
    second = replace(
        second,
        images=second.images + num_images,
        starts=second.starts[1:] + first.starts[-1],
    )
    both = zip(*([getattr(each, name) for name in ARRAYS] for each in (first, second)), strict=True)
    return _rebuilt([np.concatenate(pair) for pair in both])


def open_token_arrays(folder: Path) -> TokenArrays:
    """Maps the files that `TokenArrays.save` wrote, read only."""
    try:
        found = [
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS
        ]
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{folder}: the tokenised questions can't be read ({error}): delete this folder, and "
            "they are made again"
        ) from error
    return replace(_rebuilt(found), folder=folder)


def _rebuilt(values: list[NDArray[Any]]) -> TokenArrays:
    named: dict[str, Any] = dict(zip(ARRAYS, values, strict=True))
    return TokenArrays(**named)
