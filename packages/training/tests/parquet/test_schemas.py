"""Columns of the PixMo sub-sets."""

from __future__ import annotations

import pyarrow as pa
import pytest

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.schemas import SUBSETS, check_schema, fits, subset_of

POINT = pa.struct([("x", pa.float64()), ("y", pa.float64())])
PUBLISHED = {
    "pixmo-cap": pa.schema(
        [
            ("image_url", pa.string()),
            ("caption", pa.string()),
            ("transcripts", pa.list_(pa.string())),
        ]
    ),
    "pixmo-cap-qa": pa.schema(
        [
            ("image_url", pa.string()),
            ("question", pa.string()),
            ("answer", pa.string()),
            ("messages", pa.list_(pa.string())),
        ]
    ),
    "pixmo-ask-model-anything": pa.schema(
        [
            ("image_url", pa.string()),
            ("image_sha256", pa.string()),
            ("question", pa.string()),
            ("answer", pa.string()),
        ]
    ),
    "pixmo-points": pa.schema(
        [
            ("image_url", pa.string()),
            ("image_sha256", pa.string()),
            ("points", pa.list_(POINT)),
            ("count", pa.int64()),
            ("label", pa.string()),
            ("collection_method", pa.string()),
        ]
    ),
    "pixmo-points-eval": pa.schema(
        [
            ("image_url", pa.string()),
            ("image_sha256", pa.string()),
            ("points", pa.list_(POINT)),
            ("label", pa.string()),
            ("masks", pa.list_(pa.list_(pa.list_(pa.bool_())))),
        ]
    ),
    "pixmo-count": pa.schema(
        [
            ("image_url", pa.string()),
            ("image_sha256", pa.string()),
            ("count", pa.int32()),
            (
                "points",
                pa.struct([("x", pa.list_(pa.float64())), ("y", pa.list_(pa.float64()))]),
            ),
            ("label", pa.string()),
        ]
    ),
    "pixmo-docs": pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("image_id", pa.string()),
            (
                "questions",
                pa.struct([("question", pa.list_(pa.string())), ("answer", pa.list_(pa.string()))]),
            ),
        ]
    ),
}


@pytest.mark.parametrize("name", SUBSETS)
def test_published_columns_are_read_and_recognised(name: str) -> None:
    schema = PUBLISHED[name]
    check_schema(schema, name, where="file")
    assert subset_of(schema) == name
    extra = schema.append(pa.field("something_new", pa.float32()))
    check_schema(extra, name, where="file")
    assert subset_of(extra) == name


@pytest.mark.parametrize("name", SUBSETS)
def test_each_missing_column_is_named(name: str) -> None:
    schema = PUBLISHED[name]
    for column in SUBSETS[name].columns:
        lacking = schema.remove(schema.get_field_index(column))
        with pytest.raises(DataError) as caught:
            check_schema(lacking, name, where="some/file.parquet")
        message = str(caught.value)
        assert "some/file.parquet" in message
        assert repr(column) in message
        assert ", ".join(lacking.names) in message


@pytest.mark.parametrize("name", SUBSETS)
def test_each_wrong_type_is_named(name: str) -> None:
    schema = PUBLISHED[name]
    for column in [*SUBSETS[name].columns, *SUBSETS[name].optional]:
        place = schema.get_field_index(column)
        wrong = schema.set(place, pa.field(column, pa.date32()))
        with pytest.raises(DataError, match=f"{column!r} is date32.*expected"):
            check_schema(wrong, name, where="file")


def test_optional_columns_may_be_missing() -> None:
    schema = PUBLISHED["pixmo-cap-qa"]
    check_schema(schema.remove(schema.get_field_index("messages")), "pixmo-cap-qa", where="file")


def test_with_bytes_needs_the_picture() -> None:
    schema = PUBLISHED["pixmo-cap"]
    with pytest.raises(DataError, match="needs column 'image'"):
        check_schema(schema, "pixmo-cap", where="file", with_bytes=True)
    image = pa.field("image", PUBLISHED["pixmo-docs"].field("image").type)
    check_schema(schema.append(image), "pixmo-cap", where="file", with_bytes=True)


def test_unknown_names_and_schemas() -> None:
    with pytest.raises(DataError, match="choose one of pixmo-cap, "):
        check_schema(PUBLISHED["pixmo-cap"], "pixmo", where="file")
    assert subset_of(pa.schema([("image_url", pa.string())])) is None


@pytest.mark.parametrize(
    ("found", "expected", "fit"),
    [
        (pa.large_string(), pa.string(), True),
        (pa.string_view(), pa.string(), True),
        (pa.dictionary(pa.int32(), pa.string()), pa.string(), True),
        (pa.binary(), pa.string(), False),
        (pa.int32(), pa.int64(), True),
        (pa.float32(), pa.float64(), True),
        (pa.float64(), pa.int64(), False),
        (pa.large_list(pa.large_string()), pa.list_(pa.string()), True),
        (pa.list_(pa.int64()), pa.list_(pa.string()), False),
        (pa.string(), pa.list_(pa.string()), False),
        (pa.struct([*POINT, ("z", pa.float64())]), POINT, True),
        (pa.struct([("x", pa.float64())]), POINT, False),
    ],
)
def test_types_that_hold_the_same_values_fit(
    found: pa.DataType, expected: pa.DataType, fit: bool
) -> None:
    assert fits(found, expected) is fit
