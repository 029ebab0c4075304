"""The texts of a row: its caption, or its questions with answers, and why a text is dropped."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.row_reader import is_utf8
from edge_glass.training.parquet.schemas import SUBSETS, TEXT, TEXTS, check_schema, fits, subset_of
from edge_glass.training.parquet.visible_text import is_invisible
from edge_glass.training.prepare.filters import text_problem
from edge_glass.training.prepare.masks import mask_image
from edge_glass.training.prepare.templates import RowError, question_answers

CAPTIONS = "pixmo-cap"
# the columns that are read, and those that are read if a file has them
COLUMNS = {
    CAPTIONS: ("caption", "transcripts"),  # transcripts are read if a file has them
    "pixmo-cap-qa": ("question", "answer"),
    "pixmo-ask-model-anything": ("question", "answer"),
    "pixmo-points": ("points", "count", "label"),
    "pixmo-points-eval": ("points", "label", "masks"),
    "pixmo-count": ("count", "label"),
    "pixmo-docs": ("questions",),
}
OPTIONAL = {
    "captions": dict.fromkeys(("split", "concept", "canonical_caption", "subgroup"), TEXT),
    "questions": {"split": TEXT, "type": TEXT, "answers": TEXTS, "messages": TEXTS},
}
# columns that `prepare` writes only if a text of the data set has them, in this order
PNGS = pa.list_(pa.binary())  # one bit per pixel
WRITTEN_IF_FOUND = {
    "captions": {},
    "questions": {"answers": TEXTS, "history": TEXTS, "masks": PNGS},
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
        columns: those of `SCHEMAS` without `image`, and of `WRITTEN_IF_FOUND` those that the text
            has; `group` is None if the image is its own group.
        problem: why it is dropped, "" if it is kept.
    """

    columns: Mapping[str, Any]
    problem: str = ""


def prepared_schema(kind: str, found: Collection[str]) -> pa.Schema:
    """Returns the columns that `prepare` writes; `found` are names of `WRITTEN_IF_FOUND`."""
    more = [(name, of) for name, of in WRITTEN_IF_FOUND[kind].items() if name in found]
    return pa.schema([*SCHEMAS[kind], *(pa.field(name, of) for name, of in more)])


def find_subset(kind: str, schema: pa.Schema, *, where: object) -> str:
    """Returns the PixMo sub-set of the file `where`; `kind` is "captions" or "questions"."""
    names = [CAPTIONS] if kind == "captions" else [name for name in SUBSETS if name != CAPTIONS]
    subset = subset_of(schema, names, with_bytes=True)
    if subset is None:
        # the check of the most similar one then raises an error with the missing column
        subset = max(names, key=lambda name: len(set(SUBSETS[name].columns) & set(schema.names)))
    try:
        check_schema(schema, subset, where=where, with_bytes=True)
    except DataError as error:
        raise DataError(f"{error}; `edge-glass import` reads tables of other columns") from None
    return subset


def columns_to_read(kind: str, subset: str, schema: pa.Schema, *, where: object) -> tuple[str, ...]:
    """Returns the columns of the file `where` that `texts_of` uses."""
    optional = [name for name in OPTIONAL[kind] if name in schema.names]
    for name in optional:
        expected = OPTIONAL[kind][name]
        found = schema.field(name).type
        number = found.value_type if pa.types.is_dictionary(found) else found
        # classes are often numbered, and `labels_as_text` makes them text; no number names `train`
        numbered = expected == TEXT and name != "split" and pa.types.is_integer(number)
        if not (numbered or fits(found, expected)):
            raise DataError(
                f"{where}: column {name!r} is {found}, expected {expected}: cast or rename it"
            )
    return (*(name for name in COLUMNS[subset] if name in schema.names), *optional)


def labels_as_text(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    """Returns the row with integers of optional text columns, such as classes, as text."""
    return {
        name: str(value) if isinstance(value, int) and OPTIONAL[kind].get(name) == TEXT else value
        for name, value in row.items()
    }


def texts_of(
    subset: str, row: Mapping[str, Any], *, seed: int, index: int, max_length: int
) -> list[Text]:
    """Returns the texts of a row; a row without any returns one text with a problem.

    `index`, the number of the row, and the seed draw the template of points and counts.
    """
    if subset not in COLUMNS:
        raise DataError(f"{subset!r} is not a PixMo sub-set; choose one of {', '.join(COLUMNS)}")
    if not is_utf8(row):
        return [Text(columns={}, problem="not_utf8")]
    if subset == CAPTIONS:
        return [_caption(row, max_length)]
    for name in ("question", "answer"):
        # as it is in the file, before it is split into turns and stripped
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
                "type": _shown(row.get("type")) or pair.type,
                **({"history": list(pair.history)} if pair.history else {}),
            },
            problem=text_problem("question", pair.question, max_length)
            or text_problem("answer", pair.answer, max_length)
            or "",
        )
        for pair in pairs
    ]
    answers = [answer.strip() for answer in row.get("answers") or [] if _shown(answer)]
    if answers and len(texts) == 1 and not texts[0].problem:
        texts = [replace(texts[0], columns={**texts[0].columns, "answers": answers})]
    if row.get("masks") and len(texts) == 1 and not texts[0].problem:
        masks = [mask_image(mask) for mask in row["masks"]]
        if not all(masks):
            return [Text(columns={}, problem="bad_mask")]
        texts = [replace(texts[0], columns={**texts[0].columns, "masks": masks})]
    return texts or [Text(columns={}, problem="no_question")]


def _caption(row: Mapping[str, Any], max_length: int) -> Text:
    if problem := text_problem("caption", row["caption"], max_length):
        return Text(columns={}, problem=problem)
    caption = row["caption"].strip()
    return Text(
        columns={
            "caption": caption,
            "transcripts": [text for text in row.get("transcripts") or [] if _shown(text)],
            # images of one group show the same concept: they are not negatives of each other
            "group": _shown(row.get("concept")) or None,
            "canonical_caption": _shown(row.get("canonical_caption")) or caption,
            # a class for the colours of plots, if the data have one
            "label": _shown(row.get("subgroup")),
        }
    )


def _shown(text: str | None) -> str:
    """Returns an optional text, "" if it shows nothing or holds the character NUL."""
    return "" if not text or is_invisible(text) or "\0" in text else text
