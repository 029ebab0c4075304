"""An answer as text while it is generated. No torch is imported here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

_INCOMPLETE = "\ufffd"  # what a decoder returns for the first bytes of a letter


class TextStream:
    """Turns a growing list of tokens into pieces of text; together they are the whole answer.

    A piece is held back while it may still change: the first bytes of a letter, space at the end,
    and what may be the beginning of a stop string.

    Args:
        decode: from all tokens so far to their text.
        stop: the answer ends before the first of these strings.

    Attributes:
        stopped: whether the text so far has a stop string.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode, self._stop = decode, stop
        self._tokens: list[int] = []
        self._sent = 0
        self.stopped = False

    def add(self, token: int) -> str:
        """Takes the next token; returns the text that is now certain, often ""."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        whole = cut_at(text, self._stop)
        self.stopped = whole != text
        if not self.stopped:
            held = max(map(self._held_back, self._stop, [text] * len(self._stop)), default=0)
            whole = text[: len(text) - held].rstrip(_INCOMPLETE)
        return self._piece(whole)

    def end(self) -> str:
        """Returns the rest of the answer."""
        return self._piece(cut_at(self._decode(self._tokens), self._stop))

    def _piece(self, text: str) -> str:
        stripped = text.strip()
        piece = stripped[self._sent :]
        self._sent = max(self._sent, len(stripped))
        return piece

    @staticmethod
    def _held_back(stop: str, text: str) -> int:
        """Returns how many letters at the end of the text begin the stop string."""
        return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)


class AnswerStream(Iterator[str]):
    """An answer in pieces while it is generated; together they are the whole answer.

    Args:
        words: the ids of the answer, as they are generated.
        decode: from all ids so far to their text.
        stop: the answer ends before the first of these strings.
        end_ids: ids that end an answer.
        num_prompt_positions: positions in front of the answer.

    Attributes:
        num_prompt_positions: of the prompt, with the visual prefix and the start token.
        num_words: ids so far, the one that ends the answer included.
        is_complete: whether the answer ended by itself or at a stop string, and not at a limit.
    """

    def __init__(
        self,
        words: Iterable[int],
        decode: Callable[[list[int]], str],
        *,
        stop: Sequence[str] = (),
        end_ids: Collection[int],
        num_prompt_positions: int,
    ) -> None:
        self.num_prompt_positions = num_prompt_positions
        self.num_words = 0
        self.is_complete = False
        self._text = TextStream(decode, stop)
        self._pieces = self._generate(words, end_ids)

    def __next__(self) -> str:
        return next(self._pieces)

    def _generate(self, words: Iterable[int], end_ids: Collection[int]) -> Iterator[str]:
        for word in words:
            self.num_words += 1
            piece = self._text.add(word)
            self.is_complete = word in end_ids or self._text.stopped
            if piece:
                yield piece
            if self.is_complete:
                break
        if piece := self._text.end():
            yield piece


def cut_at(text: str, stop: Sequence[str]) -> str:
    """Returns the text up to the first of the stop strings, without it."""
    ends = [at for each in stop if (at := text.find(each)) >= 0]
    return text[: min(ends)] if ends else text
