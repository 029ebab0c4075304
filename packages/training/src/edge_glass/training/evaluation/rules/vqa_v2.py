"""The VQAv2 rule: accuracy against ten people's answers, after its normalisation.

Antol et al., VQA: Visual Question Answering (ICCV 2015), and https://visualqa.org/evaluation.html:
an answer is right if at least three people gave it. Accuracy is averaged over the ten sets of nine
people. As in today's evaluators (EvalAI, MMF, lmms-eval), the prediction and all of the answers are
normalised, in this order: punctuation, lower case, number words, articles, contractions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

NUM_ANSWERS = 10
FULL_SCORE = 3  # equal answers among the others
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_GROUPED_DIGITS = re.compile(r"\d,+\d")
_PERIOD = re.compile(r"\.(?!\d)")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
# Forms that are restored if one of their apostrophes is missing. The published table lacks the
# misspellings of some common ones, such as "shes", because they are words of their own.
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've
    hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't
    mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't
    she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
    someone'd've someone'll someone's something'd something'd've something'll that's there'd
    there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've
    we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've
    who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll
    y'all'd've you'd you'd've you'll you're you've
"""


def _misspellings() -> dict[str, str]:
    """Returns each form without one of its apostrophes, and the form."""
    table = {"somebody'd": "somebodyd"}  # this way round in the published table
    for word in _CONTRACTIONS.split():
        for place in [at for at, letter in enumerate(word) if letter == "'"]:
            table[word[:place] + word[place + 1 :]] = word
    return table


_MISSPELT = _misspellings()


def normalise_vqa_v2(answer: str) -> str:
    """Returns the answer as the VQAv2 rule compares it; it may be empty ("the").

    A mark of punctuation is removed if it stands beside a space, or if the answer has a number such
    as "1,000"; else it becomes a space. Apostrophes stay; a period stays in front of a digit.
    """
    answer = answer.replace("\n", " ").replace("\t", " ").strip()
    grouped = _GROUPED_DIGITS.search(answer) is not None
    plain = answer
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in answer or f" {mark}" in answer
        plain = plain.replace(mark, "" if beside_space or grouped else " ")
    words = [_NUMBERS.get(word, word) for word in _PERIOD.sub("", plain).lower().split()]
    return " ".join(_MISSPELT.get(word, word) for word in words if word not in _ARTICLES)


def vqa_v2_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Returns the accuracy of a prediction against the answers of several people, 0 to 1.

    Each person is left out once: the prediction then scores the number of equal answers among the
    others, divided by three, at most 1. The result is the mean over the people.
    """
    if len(answers) <= FULL_SCORE:
        raise ValueError(
            f"found {len(answers)} answers; the VQAv2 rule needs more than {FULL_SCORE}, and has "
            f"{NUM_ANSWERS}"
        )
    given = normalise_vqa_v2(prediction)
    equal = [normalise_vqa_v2(answer) == given for answer in answers]
    scores = [min(1.0, (sum(equal) - own) / FULL_SCORE) for own in equal]
    return math.fsum(scores) / len(scores)


def vqa_v2_exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Returns whether a prediction equals one of the answers after the normalisation.

    This is for data with one expected answer. An empty prediction is never right.
    """
    given = normalise_vqa_v2(prediction)
    return bool(given) and given in {normalise_vqa_v2(answer) for answer in answers}
