"""One row of any table as a record: CSV, JSON lines, Parquet and the JSON of WebDataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_glass.training.ingest.reading.columns import Columns
from edge_glass.training.ingest.reading.conversations import marked_turns, to_questions
from edge_glass.training.ingest.reading.records import (
    Drop,
    ImageRef,
    Question,
    Record,
    RowProblem,
    split_name,
)
from edge_glass.training.ingest.reading.texts import is_missing, text_of, texts_of


def row_record(
    row: Mapping[str, Any], columns: Columns, image: ImageRef, *, file: str, line: int, split: str
) -> Iterator[Record | Drop]:
    """Yields a drop for each text that can't be used, then the record of what is left.

    Args:
        row: column to value.
        columns: which ones are read.
        image: of the row.
        file: that the row is from, relative to the source.
        line: of the row.
        split: if the row names none.

    Raises:
        RowProblem: if the split is not usable.
    """
    faults: list[RowProblem] = []
    captions: list[str] = []
    for name in columns.captions:
        value = row.get(name)
        if is_missing(value) and len(columns.captions) > 1:
            continue  # of several columns, not every one is filled in each row
        kept, problems = texts_of(value, "caption")
        captions += kept
        faults += problems
    questions: list[Question] = []
    if columns.question and not (columns.captions and is_missing(row.get(columns.question))):
        try:
            questions = list(_questions(row, columns))
        except RowProblem as fault:
            faults.append(fault)
    if not (captions or questions or faults):
        faults.append(RowProblem("empty_caption", f"nothing in {', '.join(columns.captions)}"))
    own = row.get(columns.split) if columns.split else None
    if not is_missing(own):
        split = split_name(text_of(own, "split"))
    labels: dict[str, str] = {}
    for label, name in columns.labels.items():
        if not is_missing(value := row.get(name)):
            labels[label] = text_of(value, label)
    for each in faults:
        yield Drop(file=file, line=line, reason=each.reason, detail=each.detail)
    if captions or questions:
        yield Record(
            image=image,
            file=file,
            line=line,
            captions=tuple(captions),
            questions=tuple(questions),
            split=split,
            labels=labels,
        )


def _questions(row: Mapping[str, Any], columns: Columns) -> Iterator[Question]:
    asked, answered = row.get(columns.question), row.get(columns.answer or columns.answers)
    kind = row.get(columns.type) if columns.type else None
    kind = "" if is_missing(kind) else text_of(kind, "type")
    if isinstance(asked, list):
        replies = answered if isinstance(answered, list) else [answered]
        if len(asked) != len(replies):
            raise RowProblem(
                "question_answer_mismatch", f"{len(asked)} questions, {len(replies)} answers"
            )
        for question, answer in zip(asked, replies, strict=True):
            yield _question(question, answer, (), kind)
        return
    answers: tuple[str, ...] = ()
    if columns.answers and row.get(columns.answers) is not None:
        answers = tuple(texts_of(_answers(row[columns.answers]), "answer")[0])
    if isinstance(answered, list):
        if not answers:
            answers = tuple(texts_of(_answers(answered), "answer")[0])
        answered = most_common(answers)
    turns = marked_turns(text_of(asked, "question"), text_of(answered, "answer"))
    if len(turns) > 1:
        yield from to_questions(turns, kind)
        return
    for question, answer in turns:
        yield _question(question, answer, answers, kind)


def _question(asked: Any, answered: Any, answers: tuple[str, ...], kind: str) -> Question:
    question, answer = text_of(asked, "question"), text_of(answered, "answer")
    return Question(question=question, answer=answer, answers=answers, type=kind)


def _answers(value: Any) -> Any:
    # VQAv2 writes {"answer": "2", "answer_confidence": "yes", "answer_id": 1}
    if not isinstance(value, list):
        return value
    return [each.get("answer") if isinstance(each, Mapping) else each for each in value]


def most_common(answers: tuple[str, ...]) -> str | None:
    """Returns the answer that most people gave, the first of equals; None if there is none."""
    return max(answers, key=answers.count) if answers else None
