from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_glass.decoders.tokenizer import SPECIAL_TOKENS, word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEXTS = ["What is left of the cat?", "a cat", "two red apples", "What is it?"]


def test_ids_follow_count_then_word_in_any_order_of_texts() -> None:
    tokenizer = word_tokenizer(TEXTS, max_vocab=100)
    expected = [*SPECIAL_TOKENS, "?", "cat", "is", "what"]
    expected += ["a", "apples", "it", "left", "of", "red", "the", "two"]
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == expected
    reverse = word_tokenizer(reversed(TEXTS), max_vocab=100)
    assert reverse.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_rare_words_are_unknown_where_the_vocabulary_is_full() -> None:
    tokenizer = word_tokenizer(TEXTS, max_vocab=7)
    assert len(tokenizer) == 7
    assert tokenizer.convert_ids_to_tokens(tokenizer("a cat ?")["input_ids"]) == [
        "<unk>",
        "cat",
        "?",
    ]


def test_prompt_and_answer_go_through_the_chat_template(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    question = {"role": "user", "content": "What is in the TOP left?"}
    prompt = tokenizer.apply_chat_template([question], add_generation_prompt=True, tokenize=False)
    ids = tokenizer.apply_chat_template([question], add_generation_prompt=True)["input_ids"]
    assert tokenizer.decode(ids) == "<user> what is in the top left ? <assistant>"
    assert tokenizer(prompt)["input_ids"] == ids
    answered = [question, {"role": "assistant", "content": "a red apple"}]
    whole = tokenizer.apply_chat_template(answered)["input_ids"]
    assert whole[: len(ids)] == ids  # the prompt is a prefix of the taught sequence
    assert whole[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(whole[len(ids) :], skip_special_tokens=True) == "a red apple"
    with pytest.raises(Exception, match="unknown role system, expected user or assistant"):
        tokenizer.apply_chat_template([{"role": "system", "content": "be kind"}])


def test_saved_tokenizer_comes_back_equal(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert loaded.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert loaded.chat_template == tokenizer.chat_template
    assert (loaded.pad_token_id, loaded.eos_token_id) == (0, 1)


def test_errors() -> None:
    with pytest.raises(ValueError, match="max_vocab is 5, expected more than the 5 special"):
        word_tokenizer(TEXTS, max_vocab=5)
    with pytest.raises(ValueError, match="contain no word"):
        word_tokenizer(["", "  "], max_vocab=50)
