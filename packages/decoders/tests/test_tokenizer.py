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
    expected += ["2", "a", "apples", "it", "left", "of", "red", "the"]
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


def test_case_and_number_words_have_one_form() -> None:
    tokenizer = word_tokenizer(["how many cats? two", "3 cats"], max_vocab=300)
    ids = tokenizer("HOW many cats? Two three")["input_ids"]
    assert ids == tokenizer("how many cats ? 2 3")["input_ids"]
    assert tokenizer.decode(ids) == "how many cats ? 2 3"
    # answers decide which form
    spoken = word_tokenizer(["how many cats", "two", "Two", "2", "3"], max_vocab=300)
    assert spoken.decode(spoken("2 cats, 2.5, 3 three")["input_ids"]) == "two cats , 2 . 5 , 3 3"
    assert tokenizer.tokenize("someone") != tokenizer.tokenize("some1")  # whole words only


@pytest.mark.parametrize(
    ("question", "pieces"),
    [
        ("how many cats", ["how", "many", "cat", "##s"]),
        ("two boxes", ["2", "box", "##es"]),
        ("a catfish", ["a", "cat", "##f", "##i", "##s", "##h"]),
        ("x-ray x", ["x", "-", "r", "##a", "##y", "x"]),
        ("日本", ["<unk>"]),
    ],
)
def test_a_word_that_training_did_not_have_is_spelled(question: str, pieces: list[str]) -> None:
    tokenizer = word_tokenizer(["how many", "a cat", "box 2"], max_vocab=300)
    assert tokenizer.tokenize(question) == pieces


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
