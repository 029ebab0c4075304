"""The columns of every PixMo sub-set, as published; additional columns are allowed.

A stored type fits a published one if it can hold the same values: any width of integer or float,
any layout of strings and lists. "With bytes" is any sub-set plus `image`, which `fetch` adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from edge_glass.encoders.files import DataError

TEXT = pa.string()
TEXTS = pa.list_(TEXT)
NUMBERS = pa.list_(pa.float64())
# 0 to 100, of width and height; some files store the same as a struct of two lists
POINTS = pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())]))
POINT_LISTS = pa.struct([("x", NUMBERS), ("y", NUMBERS)])
# one per thing that is pointed to: rows of pixels, True inside
MASKS = pa.list_(pa.list_(pa.list_(pa.bool_())))
QUESTIONS = pa.struct([("question", TEXTS), ("answer", TEXTS)])
IMAGE = pa.struct([("bytes", pa.binary()), ("path", TEXT)])
IMAGE_BYTES = "image.bytes"  # the name that reads only this part of the struct


@dataclass(frozen=True, kw_only=True)
class Subset:
    """One PixMo sub-set.

    Attributes:
        name: as published.
        columns: from a column name to its allowed types, the published one first.
        optional: columns that may be missing, and are checked if they are there.
    """

    name: str
    columns: Mapping[str, tuple[pa.DataType, ...]]
    optional: Mapping[str, tuple[pa.DataType, ...]] = field(default_factory=dict)


_URL = {"image_url": (TEXT,)}  # not needed beside the image's bytes
_HASHED_URL = {**_URL, "image_sha256": (TEXT,)}

SUBSETS = {
    subset.name: subset
    for subset in (
        Subset(
            name="pixmo-cap",
            columns={**_URL, "caption": (TEXT,)},
            optional={"transcripts": (TEXTS,)},
        ),
        Subset(
            name="pixmo-cap-qa",
            columns={**_URL, "question": (TEXT,), "answer": (TEXT,)},
            optional={"messages": (TEXTS,)},
        ),
        Subset(
            name="pixmo-ask-model-anything",
            columns={**_HASHED_URL, "question": (TEXT,), "answer": (TEXT,)},
        ),
        Subset(
            name="pixmo-points",
            columns={
                **_HASHED_URL,
                "points": (POINTS, POINT_LISTS),
                "count": (pa.int64(),),
                "label": (TEXT,),
                "collection_method": (TEXT,),
            },
        ),
        Subset(
            name="pixmo-points-eval",
            columns={
                **_HASHED_URL,
                "points": (POINTS, POINT_LISTS),
                "label": (TEXT,),
                "masks": (MASKS,),
            },
        ),
        Subset(
            name="pixmo-count",
            columns={
                **_HASHED_URL,
                "count": (pa.int32(),),
                "points": (POINTS, POINT_LISTS),
                "label": (TEXT,),
            },
        ),
        Subset(
            name="pixmo-docs",
            columns={"image": (IMAGE,), "image_id": (TEXT,), "questions": (QUESTIONS,)},
        ),
    )
}


def fits(found: pa.DataType, expected: pa.DataType) -> bool:
    """Returns whether values of type `found` can be read as `expected`."""
    kinds = pa.types
    if kinds.is_null(found):  # no value at all, as pyarrow infers if every row lacks one
        return True
    if kinds.is_dictionary(found):
        return fits(found.value_type, expected)
    if kinds.is_struct(expected):
        return kinds.is_struct(found) and all(
            found.get_field_index(part.name) >= 0 and fits(found.field(part.name).type, part.type)
            for part in expected
        )
    if kinds.is_list(expected):
        lists = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)
        return any(is_kind(found) for is_kind in lists) and fits(
            found.value_type, expected.value_type
        )
    equivalent = (
        (kinds.is_string, kinds.is_large_string, kinds.is_string_view),
        (kinds.is_binary, kinds.is_large_binary, kinds.is_binary_view),
        (kinds.is_integer,),
        (kinds.is_floating,),
        (kinds.is_boolean,),
    )
    return any(
        any(is_kind(expected) for is_kind in group) and any(is_kind(found) for is_kind in group)
        for group in equivalent
    )


def check_schema(
    schema: pa.Schema, subset: str, *, where: object, with_bytes: bool = False
) -> None:
    """Checks the columns of the file `where`.

    `with_bytes` requires `image` too; the link to it, `image_url`, may then be missing.
    """
    if subset not in SUBSETS:
        raise DataError(f"{subset!r} is not a PixMo sub-set; choose one of {', '.join(SUBSETS)}")
    known = SUBSETS[subset]
    columns = {**known.columns, **({"image": (IMAGE,)} if with_bytes else {})}
    optional = {*known.optional, *(_URL if with_bytes else {})}
    for column, types in {**columns, **known.optional}.items():
        if column not in schema.names:
            if column in optional:
                continue
            raise DataError(
                f"{where}: {subset} needs column {column!r} ({types[0]}), which is missing; "
                f"found {', '.join(schema.names)}"
            )
        found = schema.field(column).type
        if not any(fits(found, allowed) for allowed in types):
            expected = " or ".join(map(str, types))
            raise DataError(f"{where}: {subset} column {column!r} is {found}, expected {expected}")


def subset_of(
    schema: pa.Schema, names: Iterable[str] = tuple(SUBSETS), *, with_bytes: bool = False
) -> str | None:
    """Returns the sub-set of `names` whose columns the schema has; of several, the largest one."""
    best: str | None = None
    for name in names:
        try:
            check_schema(schema, name, where="", with_bytes=with_bytes)
        except DataError:
            continue
        if best is None or len(SUBSETS[name].columns) > len(SUBSETS[best].columns):
            best = name
    return best
