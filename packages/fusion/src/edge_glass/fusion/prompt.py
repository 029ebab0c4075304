"""From questions and answers to token ids: the same functions for training and for use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edge_glass.fusion.start_token import without_start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # label of prompt, padding and visual prefix, as in transformers


def prompt_ids(tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
    """Returns the ids of a question in the tokenizer's chat template, ready for the answer.

    A start token is left out, because the model puts it in front of the image.
    """
    messages = [{"role": "user", "content": question}]
    encoded = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    ids: list[int] = list(encoded["input_ids"])  # type: ignore[index,call-overload,arg-type]
    return without_start(tokenizer, ids)


def example_ids(
    tokenizer: PreTrainedTokenizerBase, question: str, answer: str
) -> tuple[list[int], list[int]]:
    """Returns (input_ids, labels) of one question and its answer.

    Labels are `IGNORED` over the prompt; the answer and the end-of-sequence token are learned.
    """
    prompt = prompt_ids(tokenizer, question)
    answer_ids: list[int] = tokenizer(answer, add_special_tokens=False)["input_ids"]
    target = [*answer_ids, int(tokenizer.eos_token_id)]
    return prompt + target, [IGNORED] * len(prompt) + target


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
