"""Conversations as token ids, with the templates of several kinds of decoders."""

from __future__ import annotations

from typing import Any

import pytest

from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.fusion.prompt import IGNORED, example_ids, prompt_ids

TALK = ("where is it?", "top left", "what colour?", "green", "is it?", "yes")
# as Qwen2.5 writes it: a system prompt, and a line break after the end of each answer
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<user> system <eos>{% endif %}"
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} <eos>\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)
# as Gemma writes it: a turn does not end with the end-of-sequence token
OWN_END = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} over "
    "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)


def tokenizer_with(template: str | None) -> Any:
    tokenizer = word_tokenizer([*TALK, "system over"], 60)
    tokenizer.chat_template = template or tokenizer.chat_template
    return tokenizer


@pytest.mark.parametrize(
    ("template", "second"),
    [
        (None, "<user> what colour? <assistant>"),
        (CHATML, "<user> what colour? <eos> <assistant>"),
        (OWN_END, "over <user> what colour? over <assistant>"),
    ],
)
def test_labels_are_exactly_the_answers(template: str | None, second: str) -> None:
    tokenizer = tokenizer_with(template)
    ids, labels = example_ids(tokenizer, *TALK)
    learned = [token for token in labels if token != IGNORED]
    assert tokenizer.decode(learned) == "top left <eos> green <eos> yes <eos>"
    assert all(label in (IGNORED, token) for token, label in zip(ids, labels, strict=True))
    between = ids[len(example_ids(tokenizer, *TALK[:2])[0]) :]
    assert between[: len(tokenizer(second)["input_ids"])] == tokenizer(second)["input_ids"]


@pytest.mark.parametrize("template", [None, CHATML, OWN_END])
def test_a_turn_is_asked_as_it_is_learned(template: str | None) -> None:
    tokenizer = tokenizer_with(template)
    ids, labels = example_ids(tokenizer, *TALK)
    for turn in range(0, len(TALK), 2):
        prompt = prompt_ids(tokenizer, TALK[turn], TALK[:turn])
        assert ids[: len(prompt)] == prompt
        assert labels[len(prompt) - 1] == IGNORED != labels[len(prompt)]


def test_context_is_read_and_not_learned() -> None:
    tokenizer = tokenizer_with(None)
    ids, labels = example_ids(tokenizer, *TALK, context=2)
    assert ids == example_ids(tokenizer, *TALK)[0]
    learned = [token for token in labels if token != IGNORED]
    assert tokenizer.decode(learned) == "green <eos> yes <eos>"


def test_a_template_that_drops_earlier_answers_is_refused() -> None:
    template = "<user> {{ messages[-1]['content'] }} <assistant>"
    tokenizer = tokenizer_with(template)
    assert tokenizer.decode(example_ids(tokenizer, *TALK[:2])[0]).endswith("top left <eos>")
    with pytest.raises(ValueError, match="the chat template writes no answers before"):
        example_ids(tokenizer, *TALK)
