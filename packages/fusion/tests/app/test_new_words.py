from __future__ import annotations

from pathlib import Path

import pytest

from edge_glass.decoders.tokenizer import UNK, USER, word_tokenizer
from edge_glass.fusion.app import new_words as module
from edge_glass.fusion.app.new_words import new_word_notes, new_words


@pytest.mark.parametrize(
    ("question", "new"),
    [
        ("How many cats, 2 boxes?", []),
        ("a catfish and a catfish", ["catfish", "and"]),
        ("日本", ["日本"]),
        ("", []),
    ],
)
def test_words_that_have_to_be_spelled_are_new(question: str, new: list[str]) -> None:
    tokenizer = word_tokenizer(["how many", "a cat", "box 2"], max_vocab=300)
    assert new_words(tokenizer.backend_tokenizer, question) == new


def test_only_questions_with_new_words_have_a_note(tmp_path: Path) -> None:
    assert list(new_word_notes(tmp_path, ["a zeppelin"])) == []  # no folder of a model
    tokenizer = word_tokenizer(["is there a cat"], max_vocab=300)
    tokenizer.save_pretrained(tmp_path)
    notes = list(new_word_notes(tmp_path, ["is there a cat", "is there a zeppelin"]))
    assert len(notes) == 1
    assert "(zeppelin)" in notes[0]


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json: found .*; copy the model folder again"):
        list(new_word_notes(tmp_path, ["is there a cat"]))


def test_tokens_are_those_of_the_decoders() -> None:
    assert (module.USER, module.UNK) == (USER, UNK)


def test_a_pretrained_tokenizer_has_no_new_words() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "c": 1, "##a": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    assert new_words(tokenizer, "ca zeppelin") == []
