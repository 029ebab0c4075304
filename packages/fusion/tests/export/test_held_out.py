"""The images, captions and questions that an export is compared on."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from edge_glass.fusion.export.held_out import asked_images, captioned_images, spread


def test_all_of_small_splits_are_taken(prepared_data: Path) -> None:
    captioned, asked = captioned_images(prepared_data), asked_images(prepared_data)
    assert captioned.captions == ["the thing 0", "the thing 1"]
    assert captioned.groups == [0, 0, 1, 1]
    assert (len(asked.images), len(asked.questions)) == (12, 12)
    assert asked.images[:2] == [captioned.images[0]] * 2
    assert spread(range(10), 3) == [0, 3, 6]


def test_an_empty_split_is_passed_over_or_named(prepared_data: Path) -> None:
    import pyarrow.parquet as pq

    for subset, read in (("captions", captioned_images), ("questions", asked_images)):
        rows = prepared_data / subset / "val_a.rows.parquet"
        table = pq.read_table(rows)
        pq.write_table(table.slice(0, 0), rows.with_name("val_b.rows.parquet"))
        images = pq.read_table(rows.with_name("val_a.images.parquet"))
        pq.write_table(images.slice(0, 0), rows.with_name("val_b.images.parquet"))
        assert len(read(prepared_data).images) > 0
        pq.write_table(table.slice(0, 0), rows)
        with pytest.raises(ValueError, match=f"validation splits of .*{subset} are empty; run"):
            read(prepared_data)


def test_other_columns_are_named(prepared_data: Path) -> None:
    import pyarrow.parquet as pq

    rows = prepared_data / "captions" / "val_a.rows.parquet"
    pq.write_table(pq.read_table(rows).drop_columns("group"), rows)
    with pytest.raises(ValueError, match="group"):
        captioned_images(prepared_data)


@pytest.mark.parametrize(
    ("subset", "file", "column", "value", "message"),
    [
        ("captions", "rows", "image", [9] * 4, "a row has image 9 of 4; run the stage prepare"),
        ("captions", "rows", "image", [-1] * 4, "a row has image -1 of 4; run the stage prepare"),
        ("captions", "rows", "image", ["a"] * 4, "image has type string and 0 nulls"),
        ("captions", "rows", "canonical_caption", ["a", "a", "a", None], "string and 1 nulls"),
        ("questions", "images", "bytes", None, "does not exist; run the stage prepare"),
    ],
)
def test_damaged_data_is_one_line(
    prepared_data: Path,
    subset: str,
    file: str,
    column: str,
    value: list[object] | None,
    message: str,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = prepared_data / subset / f"val_a.{file}.parquet"
    if value is None:
        path.unlink()
    else:
        table = pq.read_table(path)
        place = table.schema.get_field_index(column)
        pq.write_table(table.set_column(place, column, pa.array(value)), path)
    read = captioned_images if subset == "captions" else asked_images
    with pytest.raises((ValueError, OSError), match=message) as error:
        read(prepared_data)
    assert "\n" not in str(error.value)
