"""The batches of a run: packed questions and the features of their images, read ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.read_ahead import read_ahead
from edge_glass.training.vlm_qa.batches import BatchPlan, MicrobatchSampler, QuestionSet
from edge_glass.training.vlm_qa.config import VlmQaConfig
from edge_glass.training.vlm_qa.packing import Padding
from edge_glass.training.vlm_qa.training_data import TrainingData


def question_loader(
    config: VlmQaConfig,
    plan: BatchPlan,
    data: TrainingData,
    steps: tuple[int, int],
    processes: Processes,
    padding: Padding,
) -> DataLoader[Any]:
    """Returns a loader of the microbatches of the steps from the first number to the second."""
    # live features are added to the batches, and their own workers read ahead
    features = None if data.live_features else data.features
    num_workers = config.num_workers if features is not None else 0
    questions = QuestionSet(data.samples, features, int(data.tokenizer.pad_token_id), padding)
    return DataLoader(
        questions,
        batch_sampler=MicrobatchSampler(plan, *steps, processes),
        collate_fn=questions.collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def with_live_features(
    batches: Iterator[dict[str, Tensor]],
    config: VlmQaConfig,
    plan: BatchPlan,
    data: TrainingData,
    steps: tuple[int, int],
    microbatches: range,
) -> Iterator[dict[str, Tensor]]:
    """Returns the batches of a process; live features are added to them, cached ones are there.

    Args:
        batches: of this process, in the order of steps.
        config: how many workers decode images ahead.
        plan: which samples a batch has.
        data: where the images of a sample are.
        steps: the first step, and the one at which training ends.
        microbatches: the process's own.
    """
    sources = data.live_features
    if not sources:
        return batches
    images = (
        [int(data.samples.images[sample]) for sample in plan.microbatch(step, microbatch)]
        for step in range(*steps)
        for microbatch in microbatches
    )
    encoded = read_ahead(sources, images, config.num_workers)
    return (
        {**batch, "features": features.to(batch["input_ids"].device)}
        for batch, features in zip(batches, encoded, strict=False)
    )
