"""Rows of questions as conversations: each turn with those that came before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class Conversation:
    """What was asked and answered about one image; a single question is the shortest one.

    Attributes:
        image: the image's row in the feature cache.
        messages: user and assistant in turn; the last one is an answer.
        context: the first messages that are read and not learned, because no row has their answers.
    """

    image: int
    messages: list[str]
    context: int = 0

    def num_learned(self) -> int:
        """Returns the number of turns whose answer is learned."""
        return (len(self.messages) - self.context) // 2


def has_conversations(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether any row follows an earlier turn."""
    return any(row.get("history") for row in rows)


def join_turns(rows: Sequence[Mapping[str, Any]]) -> list[Conversation]:
    """Joins the rows of each conversation, in the order of their first rows.

    A row continues the conversation about its image whose messages are the row's `history`. If
    there is none, because an earlier turn was dropped, its history is context. Rows without a
    history begin a conversation.
    """
    if not has_conversations(rows):
        return [
            Conversation(image=row["image"], messages=[row["question"], row["answer"]])
            for row in rows
        ]
    found: list[Conversation] = []
    open_ones: dict[tuple[int, tuple[str, ...]], Conversation] = {}
    for row in rows:
        history = tuple(row.get("history") or ())
        conversation = open_ones.pop((row["image"], history), None) if history else None
        if conversation is None:
            conversation = Conversation(
                image=row["image"], messages=list(history), context=len(history)
            )
            found.append(conversation)
        conversation.messages += [row["question"], row["answer"]]
        open_ones[row["image"], tuple(conversation.messages)] = conversation
    return found
