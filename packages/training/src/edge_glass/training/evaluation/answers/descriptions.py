"""Descriptions of images, compared with captions and with the image itself.

BLEU, ROUGE-L and CIDEr compare words with the captions of the image. The agreement is the cosine of
description and image in our own dual encoder, as in CLIPScore (Hessel et al. 2021,
arXiv:2104.08718) without its factor of 2.5; that of the true captions is what can be reached.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_glass.decoders.sampling import Sampling
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.describing import describing_instruction
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import Features, gather
from edge_glass.training.runtime.progress import progress, say


def describe_all(
    model: VisionLanguageModel,
    features: Features,
    batch_size: int,
    description: str,
    processes: Processes | None = None,
) -> list[str]:
    """Describes every image of `features` (M, P, D), without a wanted length.

    The processes share the batches, and each gets all descriptions.
    """
    processes = processes or Processes()
    limit = model.config.max_description_tokens
    sampling = Sampling(max_new_tokens=limit)
    batches = np.array_split(np.arange(len(features)), range(batch_size, len(features), batch_size))
    own = batches[processes.rank :: processes.size]
    given: list[str] = []
    for rows in progress(own, f"describe {description}", total=len(own)):
        instructions = [describing_instruction()] * len(rows)
        given += model.answer_features(gather(features, rows), instructions, sampling=sampling)
    found = [""] * len(features)
    for rank, texts in enumerate(processes.gather_texts(given)):
        for row, text in zip(
            np.concatenate([*batches[rank :: processes.size], []]), texts, strict=True
        ):
            found[int(row)] = text
    return found


def word_metrics(given: Sequence[str], captions: Sequence[Sequence[str]]) -> dict[str, float]:
    """Returns {"bleu", "rouge_l", "cider"} of descriptions with one or several captions each.

    bleu is sacreBLEU's corpus score over all captions, divided by 100. rouge_l is the mean of
    rouge-score's F of ROUGE-L with stems, against the best caption. cider is pycocoevalcap's, of
    lower-case words instead of PTB tokens, which need Java; it is left out if the extra `cider` is
    not installed.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU

    most = max(map(len, captions))
    # sacreBLEU leaves out a None, so that images may have different numbers of captions
    streams: list[Any] = [
        [each[n] if n < len(each) else None for each in captions] for n in range(most)
    ]
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    best = [
        max(scorer.score(caption, text)["rougeL"].fmeasure for caption in each)
        for text, each in zip(given, captions, strict=True)
    ]
    metrics = {
        "bleu": BLEU().corpus_score(list(given), streams).score / 100,
        "rouge_l": math.fsum(best) / len(best),
    }
    if find_spec("pycocoevalcap") is None:
        say("evaluate_vlm_qa: no CIDEr; pip install 'edge-glass-training[cider]' computes it")
        return metrics
    from pycocoevalcap.cider.cider import Cider

    references = {n: list(map(_words, each)) for n, each in enumerate(captions)}
    score, _ = Cider().compute_score(references, {n: [_words(t)] for n, t in enumerate(given)})
    return {**metrics, "cider": float(score)}


@torch.no_grad()
def agreement_metrics(
    dual: DualEncoder,
    features: Features,
    given: Sequence[str],
    captions: Sequence[Sequence[str]],
    batch_size: int,
) -> dict[str, float]:
    """Returns mean cosines of images (M, P, D) with texts, in the space of the dual encoder.

    "agreement" is that of the descriptions, "agreement_of_captions" that of each image's first
    caption, and "agreement_shuffled" that of descriptions with an image half-way round the split.
    """
    device = dual.logit_scale.device
    parts: list[Tensor] = []
    for start in range(0, len(features), batch_size):
        rows = np.arange(start, min(start + batch_size, len(features)))
        parts.append(dual.image_embeddings(gather(features, rows).to(device)).cpu())
    images = F.normalize(torch.cat(parts), dim=1)
    texts = dual.encode_text(list(given))
    true = dual.encode_text([each[0] for each in captions])
    other = images.roll(len(images) // 2, dims=0)
    return {
        "agreement": _cosine(images, texts),
        "agreement_of_captions": _cosine(images, true),
        "agreement_shuffled": _cosine(other, texts),
    }


def captions_by_image(rows: Sequence[dict[str, Any]], number: int) -> list[list[str]]:
    """Returns the captions of each of `number` images, in the order of the rows."""
    captions: list[list[str]] = [[] for _ in range(number)]
    for row in rows:
        captions[row["image"]].append(row["caption"])
    return captions


def _cosine(first: Tensor, second: Tensor) -> float:
    return math.fsum((first * second).sum(dim=1).tolist()) / len(first)


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
