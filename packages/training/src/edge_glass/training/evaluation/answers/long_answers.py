"""BLEU and ROUGE-L, for data whose answers are sentences.

For answers of one or two words they add nothing to exact match, and BLEU, which counts runs of four
words, is 0 by construction. They are left out for such data.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

LONG_ANSWER_WORDS = 8  # of the median true answer, at least


def has_long_answers(truths: Sequence[str]) -> bool:
    """Returns whether the median true answer has at least `LONG_ANSWER_WORDS` words."""
    return statistics.median(len(truth.split()) for truth in truths) >= LONG_ANSWER_WORDS


def long_answer_metrics(predictions: Sequence[str], truths: Sequence[str]) -> dict[str, float]:
    """Returns {"bleu", "rouge_l"}, both from 0 to 1, or nothing if the answers are short.

    bleu is sacreBLEU's corpus score with its defaults (13a tokens, lower case kept, exponential
    smoothing), divided by 100; rouge_l is the mean of rouge-score's F of ROUGE-L with stems, as in
    its authors' script.

    Raises:
        ValueError: There are no answers, or the lengths differ.
    """
    if len(predictions) != len(truths) or not truths:
        raise ValueError(
            f"found {len(predictions)} predictions and {len(truths)} answers; expected equal "
            "numbers, and at least one"
        )
    if not has_long_answers(truths):
        return {}
    # slow to import, and most evaluations do not need them
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU().corpus_score(list(predictions), [list(truths)]).score
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    scores = [
        scorer.score(truth, given)["rougeL"].fmeasure
        for truth, given in zip(truths, predictions, strict=True)
    ]
    return {"bleu": bleu / 100, "rouge_l": math.fsum(scores) / len(scores)}
