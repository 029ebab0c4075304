"""An answer as text while it is generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_glass.fusion.prompt import cut_at

_INCOMPLETE = "\ufffd"  # what a decoder returns for the first bytes of a letter


class TextStream:
    """Turns a growing list of tokens into pieces of text; together they are the whole answer.

    A piece is held back while it may still change: the first bytes of a letter, space at the end,
    and what may be the beginning of a stop string.

    Args:
        decode: from all tokens so far to their text.
        stop: the answer ends before the first of these strings.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode, self._stop = decode, stop
        self._tokens: list[int] = []
        self._sent = 0

    def add(self, token: int) -> str:
        """Takes the next token; returns the text that is now certain, often ""."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        whole = cut_at(text, self._stop)
        if whole == text:
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
