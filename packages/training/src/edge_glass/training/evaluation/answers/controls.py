"""Answers to the questions of a split, with the controls that show what the images contribute.

Equal questions about one image are answered once, and the decoder reads an image once for the
questions of a job. Jobs and their batches depend on the questions and on the batch size only, so
any number of processes gives the same answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.read_images import answer_prompts, read_images
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import Features, gather
from edge_glass.training.runtime.progress import progress

NO_IMAGE = -1  # takes the place of an image's number
AVERAGED = 64  # at most so many images, evenly spread, whose mean features stand for no image
CONTROLS = ("model", "blind", "shuffled")
Asked = tuple[int, str]  # the row of an image, and the key of a question


@dataclass(frozen=True, kw_only=True)
class Job:
    """Questions about a few images, in order of their length; `images` are rows of features."""

    images: list[int]
    asked: list[Asked]


def answer_with_controls(
    model: VisionLanguageModel,
    rows: list[dict[str, Any]],
    features: Features,
    batch_size: int,
    description: str,
    processes: Processes | None = None,
) -> dict[str, list[str]]:
    """Answers all questions with their image, without an image, and with a different image.

    A turn of a conversation follows its true history, not the answers that were given before it.
    The processes share the questions, and each gets all answers.

    Returns "model", "blind" (see `mean_image`) and "shuffled" answers, each in the order of the
    rows. The "image" of a row is the image's row in `features` (M, P, D).
    """
    processes = processes or Processes()
    images = np.array([row["image"] for row in rows])
    # half of the images further on: never the question's own, and nothing is drawn at random
    others = (images + len(features) // 2) % len(features)
    keys = [json.dumps([row["question"], *(row.get("history") or ())]) for row in rows]
    prompts = {
        key: prompt_ids(model.tokenizer, row["question"], row.get("history") or ())
        for key, row in dict(zip(keys, rows, strict=True)).items()
    }
    asked: dict[str, list[Asked]] = {
        "model": list(zip(images.tolist(), keys, strict=True)),
        "blind": [(NO_IMAGE, key) for key in keys],
        "shuffled": list(zip(others.tolist(), keys, strict=True)),
    }
    different = sorted({each for control in CONTROLS for each in asked[control]})
    jobs = cut_into_jobs(different, prompts, batch_size)
    own = jobs[processes.rank :: processes.size]
    no_image = mean_image(features)
    given = [
        text
        for job in progress(own, f"answer {description}", total=len(own))
        for text in answers_of(model, job, prompts, features, no_image, batch_size)
    ]
    found: dict[Asked, str] = {}
    for rank, texts in enumerate(processes.gather_texts(given)):
        done = [each for job in jobs[rank :: processes.size] for each in job.asked]
        found.update(zip(done, texts, strict=True))
    return {control: [found[each] for each in asked[control]] for control in CONTROLS}


def mean_image(features: Features) -> Float[Tensor, "P D"]:
    """Returns the mean features of up to 64 images, which show no image in particular.

    Zeros would be no such control: no image has them, and some models then answer nothing. The
    numbers are rounded to bfloat16, so that the order of a CPU's sums does not change them.
    """
    rows = np.arange(0, len(features), -(-len(features) // AVERAGED))
    return gather(features, rows).double().mean(dim=0).bfloat16().float()


def cut_into_jobs(
    asked: Sequence[Asked], prompts: Mapping[str, Sequence[int]], batch_size: int
) -> list[Job]:
    """Cuts questions, which are sorted by image, into jobs of at most two batches.

    A job has at most `batch_size` images, so the keys and values in memory are at most those of two
    batches: of the images, and of the questions that are answered.
    """
    runs: list[list[Asked]] = []
    images: set[int] = set()
    for each in asked:
        full = each[0] not in images and len(images) == batch_size
        if not runs or full or len(runs[-1]) == 2 * batch_size:
            runs.append([])
            images = set()
        runs[-1].append(each)
        images.add(each[0])
    return [
        Job(
            images=sorted({image for image, _ in run}),
            asked=sorted(run, key=lambda each: (len(prompts[each[1]]), each)),
        )
        for run in runs
    ]


def answers_of(
    model: VisionLanguageModel,
    job: Job,
    prompts: Mapping[str, Sequence[int]],
    features: Features,
    no_image: Float[Tensor, "P D"],
    batch_size: int,
) -> list[str]:
    """Returns the answers to the questions of a job, in their order."""
    real = [image for image in job.images if image != NO_IMAGE]
    batch = no_image.repeat(len(job.images), 1, 1)
    if real:  # NO_IMAGE is the first, because it is the smallest
        batch[len(job.images) - len(real) :] = gather(features, np.array(real))
    images = read_images(model, batch)
    place = {image: number for number, image in enumerate(job.images)}
    answers: list[str] = []
    for start in range(0, len(job.asked), batch_size):
        part = job.asked[start : start + batch_size]
        places = [place[image] for image, _ in part]
        answers += answer_prompts(model, images, places, [prompts[key] for _, key in part])
    return answers
