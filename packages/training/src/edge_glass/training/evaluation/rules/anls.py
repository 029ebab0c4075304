"""ANLS: average normalised Levenshtein similarity, the rule of DocVQA and ST-VQA.

Biten et al., Scene Text Visual Question Answering (ICCV 2019), equation 1.
"""

from __future__ import annotations

from collections.abc import Sequence

THRESHOLD = 0.5


def anls(prediction: str, answers: Sequence[str]) -> float:
    """Returns the similarity to the nearest answer, from 0 to 1; below a half it is 0.

    The similarity is 1 minus the edit distance divided by the longer length, in lower case and with
    single spaces. A similarity of exactly a half counts, as in the benchmark's script; the paper's
    equation leaves it out.
    """
    given = _folded(prediction)
    best = max((_similarity(given, _folded(answer)) for answer in answers), default=0.0)
    return best if best >= THRESHOLD else 0.0


def _similarity(left: str, right: str) -> float:
    length = max(len(left), len(right))
    return 1 - edit_distance(left, right) / length if length else 1.0


def edit_distance(left: str, right: str) -> int:
    """Returns how many letters to insert, remove or replace (Levenshtein 1966)."""
    row = list(range(len(right) + 1))
    for number, letter in enumerate(left, 1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(right, 1):
            changed = diagonal + (letter != other)
            diagonal = row[place]
            row[place] = min(changed, row[place] + 1, row[place - 1] + 1)
    return row[-1]


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
