"""From conversations to token ids: the same functions for training and for use.

A conversation is a list of messages of user and assistant in turn; a single question is the
shortest one. Its first question is written by the chat template. What the template writes between
an answer and the next question is the same for each later turn, so the ids of a turn never depend
on how many follow it, and training and use agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edge_glass.fusion.start_token import without_start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # label of prompt, padding and visual prefix, as in transformers
_ANSWER = "EARLIERANSWER"  # stands for an answer while a template is applied


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, question: str, history: Sequence[str] = ()
) -> list[int]:
    """Returns the ids of a question in the tokenizer's chat template, ready for the answer.

    `history` has the messages before it, user and assistant in turn. A start token is left out,
    because the model puts it in front of the image.
    """
    if history:
        return [*example_ids(tokenizer, *history)[0], *_later_prompt_ids(tokenizer, question)]
    messages = [{"role": "user", "content": question}]
    encoded = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    ids: list[int] = list(encoded["input_ids"])  # type: ignore[index,call-overload,arg-type]
    return without_start(tokenizer, ids)


def example_ids(
    tokenizer: PreTrainedTokenizerBase, *messages: str, context: int = 0
) -> tuple[list[int], list[int]]:
    """Returns (input_ids, labels) of a question and its answer, or of several turns.

    Labels are `IGNORED` over the prompts; each answer and its end-of-sequence token are learned,
    apart from those among the first `context` messages.
    """
    ids: list[int] = []
    labels: list[int] = []
    for turn, turn_labels in turns_ids(tokenizer, messages, context):
        ids += turn
        labels += turn_labels
    return ids, labels


def turns_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[str], context: int = 0
) -> Iterator[tuple[list[int], list[int]]]:
    """Yields the ids and labels of each turn; joined they are those of `example_ids`."""
    for turn in range(0, len(messages), 2):
        question, answer = messages[turn : turn + 2]
        prompt = prompt_ids if turn == 0 else _later_prompt_ids
        prompted = prompt(tokenizer, question)
        answered = answer_ids(tokenizer, answer)
        learned = [IGNORED] * len(answered) if turn < context else answered
        yield prompted + answered, [IGNORED] * len(prompted) + learned


def answer_ids(tokenizer: PreTrainedTokenizerBase, answer: str) -> list[int]:
    """Returns the ids of an answer, with the end-of-sequence token that ends it."""
    ids: list[int] = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return [*ids, int(tokenizer.eos_token_id)]


def _later_prompt_ids(tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
    """Returns what follows the end-of-sequence token of an answer, up to the next answer."""
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": _ANSWER},
        {"role": "user", "content": question},
    ]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    _, found, rest = str(text).partition(_ANSWER)
    if not found:
        raise ValueError(
            "the chat template writes no answers before the last one, so that this decoder can't "
            "hold a conversation; ask single questions, or give it a different chat template"
        )
    end = str(tokenizer.eos_token)
    if rest.lstrip().startswith(end):  # the answer's own end is already there
        rest = rest.lstrip().removeprefix(end)
    ids: list[int] = tokenizer(rest, add_special_tokens=False)["input_ids"]
    return ids


def left_padded(prompts: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Returns (B, T) ids and their (B, T) attention mask, with padding on the left."""
    length = max(map(len, prompts))
    ids = [[pad_token_id] * (length - len(each)) + list(each) for each in prompts]
    mask = [[0] * (length - len(each)) + [1] * len(each) for each in prompts]
    return torch.tensor(ids), torch.tensor(mask)


def check_questions(questions: Sequence[str]) -> None:
    """Refuses an empty question; the error has its number."""
    for number, question in enumerate(questions, start=1):
        if not question.strip():
            raise ValueError(f"question {number} of {len(questions)} is empty; write a question")
