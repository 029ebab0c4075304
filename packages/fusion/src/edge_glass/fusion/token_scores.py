"""Token scores: how probable each token of an answer was, and what else was probable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_ALTERNATIVES = 5
Observe = Callable[[NDArray[Any], int], None]  # receives the logits (V,) and the token chosen


@dataclass(frozen=True, kw_only=True)
class TokenScore:
    """A token that was generated.

    Attributes:
        text: the token alone; "" for the end of the answer.
        probability: the model's, before temperature and top_p.
        alternatives: the most probable tokens and their probabilities, the largest first.
    """

    text: str
    probability: float
    alternatives: tuple[tuple[str, float], ...]


class TokenScores:
    """Collects the scores of one answer while it is generated.

    Args:
        decode: from token ids to their text.

    Attributes:
        ids: the tokens so far.
        scores: their scores.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self.ids: list[int] = []
        self.scores: list[TokenScore] = []

    def observe(self, logits: NDArray[Any], token: int) -> None:
        """Adds the next token, chosen from these logits (V,)."""
        shifted = logits.astype(np.float64) - float(logits.max())
        probabilities = np.exp(shifted) / np.exp(shifted).sum()
        largest = np.argsort(-probabilities, kind="stable")[:NUM_ALTERNATIVES]
        self.ids.append(token)
        self.scores.append(
            TokenScore(
                text=self._decode([token]),
                probability=float(probabilities[token]),
                alternatives=tuple(
                    (self._decode([each]), float(probabilities[each])) for each in largest.tolist()
                ),
            )
        )
