"""COCO captions (`images`, `annotations`), and Karpathy's split file (`images` with sentences)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from edge_glass.encoders.file_names import shown
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.reading.json_stream import json_lists
from edge_glass.training.ingest.reading.records import Drop, Record, RowProblem, split_name
from edge_glass.training.ingest.reading.source import Source, folder_of, splits_of_paths
from edge_glass.training.ingest.reading.texts import text_of


def read_coco(source: Source) -> Iterator[Record | Drop]:
    """Reads each annotation file that holds captions; the captions of an image stay together.

    The texts and the images' names of one file are in memory, the images are not.

    Raises:
        DataError: naming file and line, if a file is not valid JSON.
    """
    files = [name for name in source.files(".json") if json_kind(source, name) == "coco"]
    splits = splits_of_paths(files)
    for name in files:
        yield from _coco_file(source, name, splits[name])


def read_karpathy(source: Source) -> Iterator[Record | Drop]:
    """Reads each split file; `restval` counts as `train`.

    Raises:
        DataError: naming file and line, if a file is not valid JSON.
    """
    files = [name for name in source.files(".json") if json_kind(source, name) == "karpathy"]
    for name in files:
        for key, line, element in json_lists(source.root / name, source.encoding):
            if key != "images":
                continue
            try:
                yield from _karpathy_image(source, name, line, element)
            except RowProblem as fault:
                yield Drop(file=shown(name), line=line, reason=fault.reason, detail=fault.detail)


def json_kind(source: Source, name: str) -> str:
    """Returns "coco", "karpathy", "vqa_questions" or "vqa_annotations"; "" for any other object.

    Reads no further than the first element that tells them apart.
    """
    try:
        for key, _, element in json_lists(source.root / name, source.encoding):
            if not isinstance(element, dict):
                continue
            if key == "images" and "sentences" in element:
                return "karpathy"
            if key == "annotations":
                if "caption" in element:
                    return "coco"
                return "vqa_annotations" if "question_id" in element else ""
            if key == "questions":
                return "vqa_questions" if "question" in element else ""
    except DataError:
        return ""
    return ""


def _coco_file(source: Source, name: str, split: str) -> Iterator[Record | Drop]:
    images: dict[Any, tuple[int, Any]] = {}
    captions: dict[Any, list[tuple[int, str]]] = defaultdict(list)
    where = shown(name)
    for key, line, element in json_lists(source.root / name, source.encoding):
        if key not in ("images", "annotations"):
            continue
        try:
            number = _number(element, "id" if key == "images" else "image_id")
            if key == "images":
                images[number] = (line, element.get("file_name"))
            else:
                captions[number].append((line, text_of(element.get("caption"), "caption")))
        except RowProblem as fault:
            yield Drop(file=where, line=line, reason=fault.reason, detail=fault.detail)
    for number, (line, file_name) in images.items():
        texts = captions.pop(number, [])
        try:
            if not texts:
                raise RowProblem("no_text", f"image {number} has no caption")
            image = source.locator.find(file_name, folder_of(name), *image_folders(name))
        except RowProblem as fault:
            yield Drop(file=where, line=line, reason=fault.reason, detail=fault.detail)
            continue
        found = tuple(text for _, text in texts)
        yield Record(image=image, file=where, line=texts[0][0], captions=found, split=split)
    for number, texts in captions.items():
        detail = f"no image has the id {number}"
        yield Drop(file=where, line=texts[0][0], reason="no_image", detail=detail)


def image_folders(name: str) -> list[str]:
    """Returns where COCO keeps the images of `annotations/captions_train2014.json`: `train2014`."""
    stem = name.rpartition("/")[2].rpartition(".")[0]
    words = stem.split("_")
    above = folder_of(folder_of(name))
    found = []
    for base in dict.fromkeys((above, folder_of(name))):
        for word in words:
            if word.rstrip("0123456789") in ("train", "val", "test"):
                found += [f"{base}/{word}".lstrip("/"), f"{base}/images/{word}".lstrip("/")]
        found += [base, f"{base}/images".lstrip("/")]
    return found


def _karpathy_image(source: Source, name: str, line: int, element: Any) -> Iterator[Record | Drop]:
    if not isinstance(element, dict):
        raise RowProblem("wrong_type", f"an image is {type(element).__name__}, not an object")
    sentences = element.get("sentences")
    if not isinstance(sentences, list):
        raise RowProblem("wrong_type", "'sentences' is no list")
    captions = []
    for sentence in sentences:
        raw = sentence.get("raw") if isinstance(sentence, dict) else sentence
        try:
            captions.append(text_of(raw, "caption"))
        except RowProblem as fault:
            yield Drop(file=shown(name), line=line, reason=fault.reason, detail=fault.detail)
    file_name, below = element.get("filename"), element.get("filepath")
    folders = image_folders(name)
    if isinstance(below, str) and "\0" not in below:
        folders = [f"{base}/{below}".lstrip("/") for base in ["", folder_of(name), *folders]]
    image = source.locator.find(file_name, folder_of(name), *folders)
    split = element.get("split")
    if captions:
        yield Record(
            image=image,
            file=shown(name),
            line=line,
            captions=tuple(captions),
            split=split_name(text_of(split, "split")) if split not in (None, "") else "",
        )


def _number(element: Any, key: str) -> int | str:
    if not isinstance(element, dict):
        raise RowProblem("wrong_type", f"expected an object, found {type(element).__name__}")
    value = element.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise RowProblem("wrong_type", f"{key!r} is {type(value).__name__}, expected a number")
    return value
