"""Rows of every PixMo sub-set as texts, and why a row has none."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.schemas import IMAGE, SUBSETS
from edge_glass.training.prepare.templates import question_answers
from edge_glass.training.prepare.texts import (
    SCHEMAS,
    columns_to_read,
    find_subset,
    labels_as_text,
    texts_of,
)

POINTS = [{"x": 10.0, "y": 20.0}]
MASK = [[True, False, False], [True, True, False]]
ROWS: dict[str, dict[str, Any]] = {
    "pixmo-cap": {"caption": " a cat ", "transcripts": ["cat", " ", None]},
    "pixmo-cap-qa": {"question": "[USER] what? [ASSISTANT] a cat [USER] sure?", "answer": " yes "},
    "pixmo-ask-model-anything": {"question": "what?", "answer": "a cat"},
    "pixmo-points": {"points": POINTS, "count": 1, "label": "cat"},
    "pixmo-points-eval": {"points": POINTS, "label": "cat", "masks": [MASK]},
    "pixmo-count": {"count": 3, "label": "cats"},
    "pixmo-docs": {"questions": {"question": ["q1", "q2"], "answer": ["a1", ""]}},
}


def schema_of(subset: str, *more: str) -> pa.Schema:
    known = SUBSETS[subset]
    optional = known.optional if subset == "pixmo-cap" else {}
    columns = {name: types[0] for name, types in {**known.columns, **optional}.items()}
    extra = {name: pa.string() for name in more}
    return pa.schema({**columns, "image": IMAGE, **extra})


def texts(subset: str, max_length: int = 100, **change: Any) -> list[tuple[dict[str, Any], str]]:
    row = {**ROWS[subset], **change}
    made = texts_of(subset, row, seed=3, index=5, max_length=max_length)
    return [(dict(text.columns), text.problem) for text in made]


@pytest.mark.parametrize("subset", SUBSETS)
def test_files_are_known_by_their_columns(subset: str) -> None:
    kind = "captions" if subset == "pixmo-cap" else "questions"
    schema = schema_of(subset, "split", "something_new")
    assert find_subset(kind, schema, where="f") == subset
    read = columns_to_read(kind, subset, schema, where="f")
    assert set(ROWS[subset]) | {"split"} == set(read)
    columns, _ = texts(subset)[0]
    more = ["masks"] if "masks" in ROWS[subset] else []
    assert list(columns) == [*SCHEMAS[kind].names[1:], *more]


def test_masks_are_small_images() -> None:
    (columns, problem), = texts("pixmo-points-eval")  # fmt: skip
    assert (columns["type"], problem) == ("point", "")
    with Image.open(io.BytesIO(columns["masks"][0])) as image:
        assert (image.mode, np.array(image).tolist()) == ("1", MASK)
    for wrong in ([[True], [True, False]], [[]], [], None):
        assert texts("pixmo-points-eval", masks=[wrong]) == [({}, "bad_mask")]
    assert "masks" not in texts("pixmo-points-eval", masks=None)[0][0]


def test_for_a_file_of_no_kind_the_error_names_the_missing_column() -> None:
    lacking = schema_of("pixmo-points").remove(schema_of("pixmo-points").get_field_index("label"))
    with pytest.raises(DataError, match=r"^f: pixmo-points needs column 'label'"):
        find_subset("questions", lacking, where="f")
    with pytest.raises(DataError, match=r"^f: pixmo-cap needs column 'caption'"):
        find_subset("captions", schema_of("pixmo-cap-qa"), where="f")
    schema = schema_of("pixmo-cap")
    links = schema.remove(schema.get_field_index("image"))
    with pytest.raises(DataError, match=r"^f: pixmo-cap needs column 'image'"):
        find_subset("captions", links, where="f")


@pytest.mark.parametrize(
    "missing", [("image_url",), ("transcripts",), ("image_url", "transcripts")]
)
def test_links_and_transcripts_may_be_missing(missing: tuple[str, ...]) -> None:
    kept = [field for field in schema_of("pixmo-cap") if field.name not in missing]
    assert find_subset("captions", pa.schema(kept), where="f") == "pixmo-cap"
    read = columns_to_read("captions", "pixmo-cap", pa.schema(kept), where="f")
    assert set(read) == {"caption", "transcripts"} - set(missing)
    row = {name: value for name, value in ROWS["pixmo-cap"].items() if name in read}
    (text,) = texts_of("pixmo-cap", row, seed=0, index=0, max_length=9)
    assert text.columns["transcripts"] == ([] if "transcripts" in missing else ["cat"])
    bare = pa.schema([("question", pa.string()), ("answer", pa.string()), ("image", IMAGE)])
    assert find_subset("questions", bare, where="f") == "pixmo-cap-qa"


def test_a_table_of_other_columns_names_the_import() -> None:
    schema = pa.schema([("image", IMAGE), ("text", pa.string())])
    with pytest.raises(
        DataError, match=r"needs column 'caption'.*found image, text; `edge-glass i"
    ):
        find_subset("captions", schema, where="f")


@pytest.mark.parametrize("name", ["split", "concept", "canonical_caption", "subgroup"])
def test_an_optional_column_that_is_not_text_is_refused(name: str) -> None:
    numbers = [pa.int64()] if name == "split" else []
    for kind in (pa.float64(), pa.bool_(), pa.list_(pa.string()), *numbers):
        schema = schema_of("pixmo-cap").append(pa.field(name, kind))
        with pytest.raises(DataError, match=rf"^f: column '{name}' is .*, expected string"):
            columns_to_read("captions", "pixmo-cap", schema, where="f")


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.dictionary(pa.int8(), pa.int64())])
def test_classes_that_are_integers_become_text(kind: pa.DataType) -> None:
    schema = schema_of("pixmo-cap").append(pa.field("concept", kind))
    assert "concept" in columns_to_read("captions", "pixmo-cap", schema, where="f")
    row = labels_as_text("captions", {**ROWS["pixmo-cap"], "concept": 3, "split": None})
    assert (row["concept"], row["split"], row["caption"]) == ("3", None, " a cat ")


def test_captions() -> None:
    (columns, problem), = texts("pixmo-cap")  # fmt: skip
    assert problem == ""
    assert columns == {
        "caption": "a cat", "transcripts": ["cat"], "group": None,
        "canonical_caption": "a cat", "label": "",
    }  # fmt: skip
    named = texts("pixmo-cap", concept="cat", canonical_caption="cat", subgroup="animal")[0][0]
    assert (named["group"], named["canonical_caption"], named["label"]) == ("cat", "cat", "animal")


@pytest.mark.parametrize("blank", ["", "  ", "\u200b", "a\0"])
def test_an_optional_text_that_shows_nothing_counts_as_missing(blank: str) -> None:
    names = ("concept", "canonical_caption", "subgroup")
    assert texts("pixmo-cap", **dict.fromkeys(names, blank)) == texts("pixmo-cap")
    plain = texts("pixmo-ask-model-anything")
    assert texts("pixmo-ask-model-anything", type=blank, answers=[blank]) == plain


def test_questions_are_those_of_the_templates() -> None:
    for subset in ("pixmo-points", "pixmo-count"):
        pairs = question_answers(subset, ROWS[subset], seed=3, index=5)
        expected = [{"question": p.question, "answer": p.answer, "type": p.type} for p in pairs]
        assert texts(subset) == [(each, "") for each in expected]
    assert [columns for columns, _ in texts("pixmo-cap-qa")] == [
        {"question": "what?", "answer": "a cat", "type": "caption"},
        {
            "question": "sure?", "answer": "yes", "type": "caption", "history": ["what?", "a cat"],
        },
    ]  # fmt: skip
    assert texts("pixmo-ask-model-anything", type="animals")[0][0]["type"] == "animals"


@pytest.mark.parametrize(
    ("subset", "change", "problems"),
    [
        ("pixmo-cap", {"caption": None}, ["empty_caption"]),
        ("pixmo-cap", {"caption": "\n "}, ["whitespace_caption"]),
        ("pixmo-cap", {"caption": "x" * 101}, ["long_caption"]),
        ("pixmo-cap", {"transcripts": ["ok", "\udcff"]}, ["not_utf8"]),
        ("pixmo-docs", {"questions": {"question": ["\udcff"], "answer": ["a"]}}, ["not_utf8"]),
        ("pixmo-cap-qa", {"question": None}, ["empty_question"]),
        ("pixmo-cap-qa", {"answer": " "}, ["whitespace_answer"]),
        ("pixmo-cap-qa", {"question": "[ASSISTANT] hello"}, ["no_question"]),
        ("pixmo-cap-qa", {"answer": "x" * 101}, ["", "long_answer"]),
        ("pixmo-ask-model-anything", {"question": "x" * 101}, ["long_question"]),
        ("pixmo-points", {"count": 2}, ["count_mismatch"]),
        ("pixmo-points", {"points": [{"x": 101.0, "y": 0.0}]}, ["point_outside"]),
        ("pixmo-count", {"label": " "}, ["empty_label"]),
        ("pixmo-docs", {}, ["", "empty_answer"]),
        ("pixmo-docs", {"questions": {"question": [], "answer": []}}, ["no_question"]),
        ("pixmo-docs", {"questions": None}, ["no_question"]),
        ("pixmo-docs", {"questions": {"question": ["q"], "answer": []}},
         ["question_answer_mismatch"]),
    ],
)  # fmt: skip
def test_every_reason_has_a_name(subset: str, change: dict[str, Any], problems: list[str]) -> None:
    assert [problem for _, problem in texts(subset, **change)] == problems
