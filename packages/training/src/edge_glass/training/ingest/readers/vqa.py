"""VQAv2: a file of questions and a file of annotations with ten answers per question."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from edge_glass.encoders.file_names import shown
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.readers.coco import image_folders, json_kind
from edge_glass.training.ingest.reading.json_stream import json_lists
from edge_glass.training.ingest.reading.records import Drop, ImageRef, Question, Record, RowProblem
from edge_glass.training.ingest.reading.row_record import most_common
from edge_glass.training.ingest.reading.source import Source, folder_of, splits_of_paths
from edge_glass.training.ingest.reading.texts import text_of

Answers = tuple[str, str, tuple[str, ...]]  # the answer that is learned, its type, all answers

SUBTYPE = re.compile(r"(train|val|test)\d{4}")


def read_vqa(source: Source) -> Iterator[Record | Drop]:
    """Reads each file of questions with the answers of all annotation files.

    The answers are in memory, some 100 MB for VQAv2; questions and images are not.

    Raises:
        DataError: naming the file, if it is not valid JSON or no file holds answers.
    """
    names = source.files(".json")
    kinds = {name: json_kind(source, name) for name in names}
    asked = [name for name in names if kinds[name] == "vqa_questions"]
    answered = [name for name in names if kinds[name] == "vqa_annotations"]
    if not answered:
        raise DataError(
            f"{source.path}: {len(asked)} files of questions and no file of annotations, which "
            "holds the answers; put it into the same folder"
        )
    answers: dict[Any, Answers] = {}
    for name in answered:
        for key, line, element in json_lists(source.root / name, source.encoding):
            if key != "annotations":
                continue
            try:
                answers[_key(element, "question_id")] = _answers(element)
            except RowProblem as fault:
                yield Drop(file=shown(name), line=line, reason=fault.reason, detail=fault.detail)
    splits = splits_of_paths(asked)
    for name in asked:
        yield from _questions(source, name, answers, splits[name])


def _questions(
    source: Source, name: str, answers: dict[Any, Answers], split: str
) -> Iterator[Record | Drop]:
    found = SUBTYPE.search(name)  # the field `data_subtype` may stand behind the questions
    subtype = found.group() if found else ""
    known: tuple[Any, ImageRef | RowProblem] | None = None  # questions of an image stand together
    for key, line, element in json_lists(source.root / name, source.encoding):
        if key == "data_subtype" and isinstance(element, str):
            subtype = element
        if key != "questions":
            continue
        try:
            number = _key(element, "question_id")
            question = text_of(element.get("question"), "question")
            if number not in answers:
                raise RowProblem("no_answer", f"no annotation for question {number}")
            answer, kind, all_answers = answers[number]
            image_number = _key(element, "image_id")
            if known is None or known[0] != image_number:
                known = image_number, _find(source, name, element, subtype)
            if isinstance(known[1], RowProblem):
                raise known[1]
        except RowProblem as fault:
            yield Drop(file=shown(name), line=line, reason=fault.reason, detail=fault.detail)
            continue
        asked = Question(question=question, answer=answer, answers=all_answers, type=kind)
        yield Record(image=known[1], file=shown(name), line=line, questions=(asked,), split=split)


def _find(source: Source, name: str, element: Any, subtype: str) -> ImageRef | RowProblem:
    number = element["image_id"]
    given = next((element[key] for key in ("image", "file_name") if element.get(key)), None)
    plain = str(number)
    padded = plain.zfill(12)
    tries = [f"COCO_{subtype}_{padded}.jpg", f"{subtype}_{padded}.png", f"{padded}.jpg"]
    tries += [f"{plain}{suffix}" for suffix in (".jpg", ".png", ".jpeg")]
    folders = image_folders(name)
    if subtype and "/" not in subtype and "\0" not in subtype:
        folders = [f"{base}/{subtype}".lstrip("/") for base in ("", *folders)] + folders
    first: RowProblem | None = None
    for each in [given] if given is not None else tries:
        try:
            return source.locator.find(each, folder_of(name), *folders)
        except RowProblem as fault:
            if fault.reason != "missing_file":
                return fault
            first = first or fault
    return first or RowProblem("missing_file", f"image {number}")


def _answers(element: Any) -> Answers:
    listed = element.get("answers")
    texts: list[str] = []
    for each in listed if isinstance(listed, list) else []:
        text = text_of(each.get("answer") if isinstance(each, dict) else each, "answer")
        texts.append(sys.intern(text))
    answer = element.get("multiple_choice_answer")
    if answer is None:
        answer = most_common(tuple(texts))
    kind = element.get("answer_type")
    return (
        sys.intern(text_of(answer, "answer")),
        sys.intern(text_of(kind, "type")) if kind is not None else "",
        tuple(texts),
    )


def _key(element: Any, key: str) -> int | str:
    if not isinstance(element, dict):
        raise RowProblem("wrong_type", f"expected an object, found {type(element).__name__}")
    value = element.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise RowProblem("wrong_type", f"{key!r} is {type(value).__name__}, expected a number")
    if isinstance(value, str) and ("\0" in value or len(value) > 200):
        raise RowProblem("wrong_type", f"{key!r} is {value[:40]!a}")
    return value
