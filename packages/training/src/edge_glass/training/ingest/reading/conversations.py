"""Conversations about one image as questions with answers.

LLaVA writes `{"from": "human", "value": …}`; ms-swift, LLaMA-Factory and TRL write
`{"role": "user", "content": …}` with a text or a list of parts; the Cauldron writes a turn as
`{"user": …, "assistant": …}`; the original project writes one text with `[USER]` and `[ASSISTANT]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from edge_glass.training.ingest.reading.records import Question, RowProblem
from edge_glass.training.ingest.reading.texts import text_of

USER = ("user", "human")
ASSISTANT = ("assistant", "gpt", "model", "bot", "chatgpt", "bard")
PLACEHOLDER = re.compile(r"[ \t]*<(?:image|img|video|audio)>[ \t]*\n?|<\|image(?:_pad)?\|>")
MARK = re.compile(r"\s*\[(USER|ASSISTANT)\]:?\s*")
IMAGE_KEYS = ("image", "image_url", "url", "path", "image_path")

Turn = tuple[str, str]  # what the user asks, what the assistant answers


def turns_of(messages: Any) -> tuple[list[Turn], list[Any]]:
    """Returns the turns of a list of messages, and the images that are named inside of them.

    Placeholders such as `<image>` are removed. A last message of the user without an answer, and
    what systems and tools write, is left out.

    Raises:
        RowProblem: "wrong_type", "no_answer" or what `texts.text_of` refuses.
    """
    if not isinstance(messages, list):
        raise RowProblem("wrong_type", f"the conversation is {type(messages).__name__}")
    images: list[Any] = []
    turns: list[Turn] = []
    asked: list[str] = []
    for message in _messages(messages):
        role = str(message.get("role") or message.get("from") or "").lower()
        content = message.get("content", message.get("value"))
        if role in USER:
            asked.append(_content(content, "question", images))
        elif role in ASSISTANT:
            if asked:
                question = "\n".join(text for text in asked if text)
                answer = _content(content, "answer", images)
                turns.append((text_of(question, "question"), text_of(answer, "answer")))
            asked = []
        elif role not in ("system", "tool", "function", "observation", "function_call"):
            raise RowProblem("wrong_type", f"a message has the role {role[:40]!r}")
    if not turns:
        raise RowProblem("no_answer", "no message of the assistant follows one of the user")
    return turns, images


def _messages(messages: list[Any]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        if not isinstance(message, Mapping):
            raise RowProblem("wrong_type", f"a message is {type(message).__name__}")
        if "user" in message and "assistant" in message:
            for role in ("user", "assistant"):
                yield {"role": role, "content": message[role]}
        else:
            yield message


def to_questions(turns: list[Turn], kind: str) -> Iterator[Question]:
    """Yields a question per turn; with several turns each keeps what came before it."""
    said: list[str] = []
    for question, answer in turns:
        said += [question, answer]
        messages = tuple(said) if len(turns) > 1 else ()
        yield Question(question=question, answer=answer, type=kind, messages=messages)


def marked_turns(question: str, answer: str) -> list[Turn]:
    """Cuts a question that begins with `[USER]` at the marks of its turns.

    A question without a mark at its beginning is one turn, whatever it holds further on.
    """
    if not MARK.match(question):
        return [(question, _without_mark(answer))]
    parts = MARK.split(question)
    texts = [(mark, text.strip()) for mark, text in zip(parts[1::2], parts[2::2], strict=True)]
    said = [*(each for each in texts if each[1]), ("ASSISTANT", _without_mark(answer))]
    turns = [
        (first, second)
        for (role, first), (next_role, second) in pairwise(said)
        if (role, next_role) == ("USER", "ASSISTANT")
    ]
    if not turns:
        raise RowProblem("empty_question", f"question {question[:40]!r} has marks and no text")
    return turns


def _without_mark(text: str) -> str:
    return MARK.sub("", text, count=1) if MARK.match(text) else text


def _content(content: Any, name: str, images: list[Any]) -> str:
    if isinstance(content, list):
        texts = [_part(part, name, images) for part in content]
        content = "\n".join(text for text in texts if text)
    elif content is not None:
        content = text_of(content, name) if content != "" else ""
    return PLACEHOLDER.sub("", content or "").strip()


def _part(part: Any, name: str, images: list[Any]) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise RowProblem("wrong_type", f"a part of a message is {type(part).__name__}")
    kind = part.get("type")
    if kind == "text" or (kind is None and "text" in part):
        return text_of(part.get("text"), name) if part.get("text") else ""
    for key in IMAGE_KEYS:
        value = part.get(key)
        if isinstance(value, Mapping) and key == "image_url":
            value = value.get("url")
        if value:
            images.append(value)
            break
    return ""
