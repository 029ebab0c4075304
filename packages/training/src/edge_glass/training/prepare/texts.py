"""The texts of a row: its caption, or its questions with their answers, and why one is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.schemas import SUBSETS, check_schema, subset_of
from edge_glass.training.prepare.filters import text_problem
from edge_glass.training.prepare.templates import RowError, question_answers

PICTURE = "image.bytes"
CAPTIONS = "pixmo-cap"
# The columns that are read, and those that are read where a file has them.
COLUMNS = {
    CAPTIONS: ("caption", "transcripts"),
    "pixmo-cap-qa": ("question", "answer"),
    "pixmo-ask-model-anything": ("question", "answer"),
    "pixmo-points": ("points", "count", "label"),
    "pixmo-count": ("count", "label"),
    "pixmo-docs": ("questions",),
}
OPTIONAL = {
    "captions": ("split", "concept", "canonical_caption", "subgroup"),
    "questions": ("split", "type"),
}
SCHEMAS = {
    "captions": pa.schema(
        [
            ("image", pa.int64()),
            ("caption", pa.string()),
            ("transcripts", pa.list_(pa.string())),
            ("group", pa.string()),
            ("canonical_caption", pa.string()),
            ("label", pa.string()),
        ]
    ),
    "questions": pa.schema(
        [
            ("image", pa.int64()),
            ("question", pa.string()),
            ("answer", pa.string()),
            ("type", pa.string()),
        ]
    ),
}


@dataclass(frozen=True, kw_only=True)
class Text:
    """A caption, or a question with its answer.

    Attributes:
        columns: of `SCHEMAS`, without `image`; `group` is None where the picture is its own group.
        problem: why it is dropped, "" where it is kept.
    """

    columns: Mapping[str, Any]
    problem: str = ""


def find_subset(kind: str, schema: pa.Schema, *, where: object) -> str:
    """Returns the PixMo sub-set of a file.

    Args:
        kind: "captions" or "questions", what the file is given as.
        schema: the file's.
        where: the file, as an error names it.

    Raises:
        DataError: where it is none of that kind, naming what the nearest one needs.
    """
    names = [CAPTIONS] if kind == "captions" else [each for each in SUBSETS if each != CAPTIONS]
    found = subset_of(schema, names)
    if found is None:
        # the nearest one says what is missing
        found = max(names, key=lambda name: len(set(SUBSETS[name].columns) & set(schema.names)))
    check_schema(schema, found, where=where, with_bytes=True)
    return found


def columns_to_read(kind: str, subset: str, schema: pa.Schema) -> tuple[str, ...]:
    """Returns the columns that `texts_of` wants of a file."""
    return (*COLUMNS[subset], *(name for name in OPTIONAL[kind] if name in schema.names))


def texts_of(
    subset: str, row: Mapping[str, Any], *, seed: int, index: int, max_length: int
) -> list[Text]:
    """Returns the texts of a row, at least one: a row that makes none has a text with a problem.

    Args:
        subset: a name of `schemas.SUBSETS`.
        row: the columns of `columns_to_read`.
        seed: of the run.
        index: the row's number, which draws the template of points and counts.
        max_length: of a text, in characters.

    Raises:
        DataError: where the sub-set is not known.
    """
    if subset not in COLUMNS:
        raise DataError(f"{subset!r} is no PixMo sub-set; choose one of {', '.join(COLUMNS)}")
    if subset == CAPTIONS:
        return [_caption(row, max_length)]
    for name in ("question", "answer"):
        # as the file has it, before it is cut into turns and stripped
        if name in COLUMNS[subset] and not (row[name] or "").strip():
            return [Text(columns={}, problem=text_problem(name, row[name], max_length) or "")]
    try:
        pairs = question_answers(subset, row, seed=seed, index=index)
    except RowError as error:
        return [Text(columns={}, problem=error.reason)]
    texts = [
        Text(
            columns={
                "question": (pair.question or "").strip(),
                "answer": (pair.answer or "").strip(),
                "type": row.get("type") or pair.type,
            },
            problem=text_problem("question", pair.question, max_length)
            or text_problem("answer", pair.answer, max_length)
            or "",
        )
        for pair in pairs
    ]
    return texts or [Text(columns={}, problem="no_question")]


def _caption(row: Mapping[str, Any], max_length: int) -> Text:
    if problem := text_problem("caption", row["caption"], max_length):
        return Text(columns={}, problem=problem)
    caption = row["caption"].strip()
    return Text(
        columns={
            "caption": caption,
            "transcripts": [text for text in row["transcripts"] or [] if text and text.strip()],
            # pictures of one group show one thing: they are no negatives of each other
            "group": row.get("concept"),
            "canonical_caption": row.get("canonical_caption") or caption,
            # a class to colour plots by, where the data name one
            "label": row.get("subgroup") or "",
        }
    )
