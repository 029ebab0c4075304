"""LLaVA's JSON (`conversations`) and messages JSONL (`messages` and `images`).

ms-swift, LLaMA-Factory and TRL read the second; ShareGPT files mix the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_glass.encoders.file_names import shown
from edge_glass.training.ingest.readers.table import single_image
from edge_glass.training.ingest.reading.conversations import to_questions, turns_of
from edge_glass.training.ingest.reading.json_stream import json_head, json_rows
from edge_glass.training.ingest.reading.records import Drop, Record, RowProblem, split_name
from edge_glass.training.ingest.reading.source import Source, folder_of, splits_of_paths
from edge_glass.training.ingest.reading.texts import text_of

LISTS = ("conversations", "messages", "conversation")
PAIRS = (("query", "response"), ("instruction", "output"))
FILES = (".json", ".jsonl", ".ndjson")


def read_conversations(source: Source) -> Iterator[Record | Drop]:
    """Reads each JSON file as a list of conversations.

    Raises:
        DataError: naming file and line, if a file is not valid JSON.
    """
    files = source.files(*FILES)
    splits = splits_of_paths(files)
    for name in files:
        if len(files) > 1 and is_settings(source.root / name):
            detail = "a JSON object and no list of rows"
            yield Drop(file=shown(name), line=None, reason="no_conversation", detail=detail)
            continue
        for line, row in json_rows(source.root / name, source.encoding):
            try:
                if isinstance(row, RowProblem):
                    raise row
                yield _record(source, name, line, row, splits[name])
            except RowProblem as fault:
                yield Drop(file=shown(name), line=line, reason=fault.reason, detail=fault.detail)


def is_settings(path: Path) -> bool:
    """Returns whether a file is one JSON object over several lines, as `dataset_info.json` is."""
    first = json_head(path).split(b"\n")[0]
    return path.suffix.lower() == ".json" and first.strip() == b"{"


def _record(source: Source, name: str, line: int, row: Any, split: str) -> Record:
    if not isinstance(row, dict):
        raise RowProblem("wrong_type", f"the row is {type(row).__name__}, not an object")
    key = next((each for each in LISTS if each in row), None)
    messages = _prompted(row) if key is None else row[key]
    turns, inside = turns_of(messages)
    named = next((row[each] for each in ("images", "image", "image_path") if row.get(each)), None)
    image = single_image(named if named is not None else inside)
    kind = next((row[each] for each in ("type", "source") if row.get(each)), "")
    own = row.get("split")
    return Record(
        image=source.locator.find(image, folder_of(name)),
        file=shown(name),
        line=line,
        questions=tuple(to_questions(turns, text_of(kind, "type") if kind != "" else "")),
        split=split_name(text_of(own, "split")) if own not in (None, "") else split,
    )


def _prompted(row: dict[str, Any]) -> list[Any]:
    """TRL's `prompt` and `completion`; `query` and `response`; `instruction` and `output`.

    The first two may be lists of messages. The others, of ms-swift 2 and LLaMA-Factory's Alpaca
    format, are texts, with earlier turns in `history` as pairs.
    """
    prompt, completion = row.get("prompt"), row.get("completion")
    for question, answer in PAIRS:
        if prompt is None and question in row and answer in row:
            more = row.get("input") if question == "instruction" else None
            prompt = f"{row[question]}\n{more}" if more else row[question]
            completion = row[answer]
    if prompt is None or completion is None:
        found = ", ".join(ascii(each)[:40] for each in list(row)[:10])
        raise RowProblem(
            "no_conversation", f"expected 'conversations' or 'messages', found {found}"
        )
    first = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    last = completion if isinstance(completion, list) else None
    history = row.get("history")
    before = history if isinstance(history, list) else []
    said = [
        {"role": role, "content": text}
        for pair in before
        if isinstance(pair, list)
        for role, text in zip(("user", "assistant"), pair, strict=False)
    ]
    return [*said, *first, *(last or [{"role": "assistant", "content": completion}])]
