"""Tokenised questions are made once, mapped by all, and made again if what decides them changes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.encoders.files import DataError
from edge_glass.training.engine.processes import Processes
from edge_glass.training.folders import TOKENS
from edge_glass.training.vlm_qa.packing import pack_questions
from edge_glass.training.vlm_qa.token_arrays import TokenArrays, joined_arrays, open_token_arrays
from edge_glass.training.vlm_qa.token_store import PackedFacts, stored_tokens, tokenizer_mark

ROWS = [
    {"image": 4, "question": "how many dogs are there?", "answer": "two"},
    {"image": 7, "question": "where is it?", "answer": "top left"},
    {"image": 4, "question": "is it red?", "answer": "no"},
]
TOKENIZER = word_tokenizer([f"{row['question']} {row['answer']}" for row in ROWS], 100)
PACKED = pack_questions(ROWS, TOKENIZER, max_questions=8, max_length=100)[0]
FACTS = PackedFacts(sizes=(2, 0), num_learned=3, conversations=False, left_out=["1 of 4: reason"])


def test_counts_are_those_of_the_rows() -> None:
    rows = list(PACKED)
    assert PACKED.lengths.tolist() == [len(row.input_ids) for row in rows]
    assert PACKED.labelled.tolist() == [sum(x != -100 for x in row.labels) for row in rows]
    assert PACKED.conversations.tolist() == [2, 1]
    assert PACKED.longest.tolist() == [max(map(row.segment_ids.count, (0, 1))) for row in rows]
    with pytest.raises(IndexError):
        PACKED[2]


def test_joined_rows_follow_and_their_images_count_on() -> None:
    both = joined_arrays(PACKED, PACKED, 10)
    assert [row.image for row in both] == [4, 7, 14, 17]
    assert [row.input_ids for row in both] == 2 * [row.input_ids for row in PACKED]
    assert both.lengths.tolist() == 2 * PACKED.lengths.tolist()


def test_a_worker_maps_the_files_itself(tmp_path: Path) -> None:
    PACKED.save(tmp_path)
    mapped = open_token_arrays(tmp_path)
    assert isinstance(mapped.input_ids, np.memmap)
    assert len(pickle.dumps(mapped)) < 1000
    for sent in (mapped, PACKED):
        rebuild, arguments = sent.__reduce__()
        assert list(rebuild(*arguments)) == list(PACKED)


def test_tokens_are_made_once_for_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = []

    def make() -> tuple[TokenArrays, PackedFacts]:
        made.append(1)
        return PACKED, FACTS

    key: dict[str, Any] = {"max_length": 100, "tokenizer": tokenizer_mark(TOKENIZER)}
    for _ in range(2):
        found, facts = stored_tokens(key, make, Processes())
        assert (list(found), facts) == (list(PACKED), FACTS)
    assert len(made) == 1
    other = tokenizer_mark(word_tokenizer(["one more word"], 100))
    (TOKENS / "notes.txt").touch()
    stored_tokens({**key, "tokenizer": other}, make, Processes())
    assert len(made) == 2
    (folder,) = filter(Path.is_dir, TOKENS.iterdir())  # those of the first key are gone
    assert (TOKENS / "notes.txt").is_file()
    path = folder / "labels.npy"
    data = path.read_bytes()
    for damaged in (b"", data[:-1] + bytes([data[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(
            DataError, match=r"labels\.npy: found SHA-256 .*delete this folder, and"
        ):
            stored_tokens({**key, "tokenizer": other}, make, Processes())
    path.unlink()
    with pytest.raises(DataError, match=r"FileNotFound.*delete this folder, and"):
        stored_tokens({**key, "tokenizer": other}, make, Processes())
