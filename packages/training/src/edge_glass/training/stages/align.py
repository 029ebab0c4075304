"""Stage `align`: pooling and Matryoshka heads learn to match images and captions.

Read from top to bottom: data, model, optimizer, run, loop, save; docs/training-step.md explains one
step with its shapes. Both encoders are frozen, and their features come from the cache. With several
processes (`torchrun --no-python edge-glass align`) each works on its own microbatches of the batch;
the bytes are those of one process.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edge_glass.encoders.components import Component
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig
from edge_glass.encoders.towers.grid_average import with_grid
from edge_glass.training.align.collapse import CollapseAlarm
from edge_glass.training.align.gradient_cache import GradientCache
from edge_glass.training.align.image_features import (
    AugmentedFeatures,
    CachedFeatures,
    ImageFeatures,
    LiveTrainingFeatures,
)
from edge_glass.training.align.matryoshka import MatryoshkaTerms
from edge_glass.training.align.pairs import TrainingPairs, training_pairs
from edge_glass.training.align.validation import validation_recall, validation_splits
from edge_glass.training.engine.allocator import keep_freed_memory
from edge_glass.training.engine.determinism import generator, make_deterministic, reseed
from edge_glass.training.engine.processes import Processes, join_processes
from edge_glass.training.features.cache import (
    FeatureIndex,
    check_encoders,
    read_index,
    vision_features,
)
from edge_glass.training.features.live import LiveFeatures
from edge_glass.training.folders import ALIGNED, PREPARED
from edge_glass.training.loop.guarantee import proven_level
from edge_glass.training.loop.optim import (
    build_adamw,
    clip_gradients,
    learning_rate_factor,
    set_learning_rate,
)
from edge_glass.training.loop.run import Run
from edge_glass.training.loop.state import StateSaver
from edge_glass.training.runtime.fingerprint import fingerprint
from edge_glass.training.runtime.nothing_to_do import nothing_to_do, read_note, remove_note
from edge_glass.training.runtime.progress import say

if TYPE_CHECKING:
    from edge_glass.training.params import Params

MAX_LOGIT_SCALE = math.log(100.0)


def run(params: Params) -> None:
    """Runs the stage."""
    make_deterministic(params.num_threads, params.reproducibility)
    keep_freed_memory()
    with join_processes(params.device) as processes:
        absent = read_note(PREPARED / "captions")
        if absent is None:
            train(params, processes)
            remove_note(ALIGNED)
        elif processes.main:
            nothing_to_do("align", absent, ALIGNED, Path("plots/align"))


def train(params: Params, processes: Processes) -> None:
    """Trains, in one of the processes of a run."""
    seed, device = params.seed, processes.device

    # data: the features of images and captions, and the validation splits
    index = read_index()
    check_encoders(index, vision=params.vision_encoder.name, text=params.text_encoder.name)
    pairs = training_pairs(params, index)
    rows, config = pairs.rows, pairs.config
    images = open_image_features(params, index, device, partial(pairs.own_images, processes))
    validation = validation_splits(index.splits["captions"], PREPARED)
    if not validation:
        say("align: no validation split, so the last weights are stored, not the best ones")

    # model: pooling, two heads and the temperature, with fresh weights
    reseed(seed, "align", "init")
    model = build_model(params, index).train().to(device)
    pairs.check_model(model)
    objective = MatryoshkaTerms(
        config.matryoshka_dims,
        config.matryoshka_weights,
        config.n_dims_per_step,
        seed=seed,
        matryoshka_weight=config.matryoshka_weight,
        contrastive_weight=config.contrastive_weight,
    )
    trained = dict(model.named_parameters())
    count = sum(value.numel() for value in trained.values())
    level = proven_level(params, "align")
    say(f"align: {len(rows.images)} pairs, {count / 1e6:.2f} M parameters; proven: {level}")

    # optimizer: the pooling may have its own learning rate
    rate = config.optim.learning_rate
    pooling_rate = config.pooling_learning_rate or rate
    optimizer = build_adamw([(model.pooling, pooling_rate), (model, rate)], config.optim)
    cache = GradientCache(
        list(trained.values()),
        model.logit_scale,
        batch_size=config.batch_size,
        num_microbatches=config.num_microbatches,
        recompute=config.gradient_cache,
        processes=processes,
    )

    # run: continues from the saved state of an interrupted run with the same inputs, if any
    run = Run(
        "align", config, trained, StateSaver(optimizer, processes), processes,
        params=params, fingerprint=fingerprint(params, "align"), level=level,
    )  # fmt: skip
    alarm = CollapseAlarm(config.collapse_steps)

    for step in run.steps():
        # batch: which pairs, which caption of each pair, and which captions are dropped
        batch = pairs.batch(step)  # (B,)
        texts = rows.draw_texts(batch, seed=seed, step=step)  # (B,)
        draws = torch.rand(len(batch), generator=generator(seed, "text_dropout", step))  # (B,)
        keep_text = draws >= config.caption_dropout  # (B,)

        # forward, loss, backward: the cache embeds the microbatches and fills the gradients
        result = cache.step(
            partial(embed_microbatch, model, images, pairs, batch, texts, step),
            objective.at(step),
            rows.negatives(batch, texts).to(device),
            keep_text.to(device),
        )

        # step: clip, update the weights at this step's learning rate, bound the temperature
        norm = clip_gradients(trained.values(), config.optim.max_grad_norm, f"align, step {step}")
        factor = learning_rate_factor(
            step, steps=config.steps, warmup_steps=config.optim.warmup_steps
        )
        set_learning_rate(optimizer, factor)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)

        # log: the certificate gets every step, the curves every `log_steps` steps
        loss = result.loss.item()
        run.count(batch.tolist(), loss, norm, samples=config.batch_size)
        alarm.check(loss, result.chance.item(), run.state)
        if run.log_due():
            run.log(
                {
                    "loss": loss,
                    "grad_norm": norm.item(),
                    "learning_rate": rate * factor,
                    "logit_scale": model.logit_scale.item(),
                }
            )

        # at intervals: score retrieval on the validation splits, and save the state
        if validation and run.validation_due():
            recall = validation_recall(model, validation, config.matryoshka_dims)
            run.score({"recall": recall})
        run.save_if_due()

    # save: the last weights, the weights that the next stages use, the certificate
    run.end()
    if processes.main:
        model.save_pretrained(ALIGNED / "last")
        with run.chosen_weights("mean R@1"):
            model.save_pretrained(ALIGNED)
        run.certify(ALIGNED)


def embed_microbatch(
    model: DualEncoder,
    images: ImageFeatures,
    pairs: TrainingPairs,
    batch: Tensor,
    texts: Tensor,
    step: int,
    microbatch: int,
    part: slice,
) -> tuple[Tensor, Tensor]:
    """Returns the image and text embeddings of one microbatch, (n, E) each.

    The noise of dropout is a function of (seed, step, microbatch), so that a second call gives the
    same embeddings. `batch` (B,) has the row of each pair, `texts` (B,) the row of its caption in
    `pairs.rows.features`, and `part` is the microbatch's slice of both.
    """
    reseed(pairs.seed, "align", step, microbatch)
    device = model.logit_scale.device
    features = images.at(pairs.images(batch[part]), step=step).to(device)  # (i, P, D)
    captions = pairs.rows.features[texts[part]].to(device)  # (n, D)
    with model.autocast():
        image = model.image_head(pairs.head_inputs(model, batch[part], features))
    return image.float(), model.text_embeddings(captions)


def open_image_features(
    params: Params,
    index: FeatureIndex,
    device: torch.device,
    images: Callable[[int], Iterator[list[int]]],
) -> ImageFeatures:
    """Returns the features of the training images: cached, or encoded at each step.

    `images` has the images of each microbatch of this process from a step on.
    """
    if params.align.augmentation is None:
        features = vision_features("captions", "train")
        if isinstance(features, LiveFeatures):
            return LiveTrainingFeatures(features, images, params.align.num_workers)
        return CachedFeatures(
            features, device, keep=params.align.gradient_cache, batches=images,
            num_workers=params.align.num_workers,
        )  # fmt: skip
    encoder = params.vision_encoder.config.build(image_size=index.image_sizes["captions"])
    return AugmentedFeatures(
        PREPARED / "captions" / "train.images.parquet",
        with_grid(encoder, index.grids["captions"]).to(device),
        params.align.augmentation,
        dtype=params.encode.dtype,
        seed=params.seed,
    )


def build_model(params: Params, index: FeatureIndex) -> DualEncoder:
    """Builds the trained part of the dual encoder, with fresh weights."""
    vision = dataclasses.replace(
        params.vision_encoder.config, image_size=index.image_sizes["captions"]
    )
    config = DualEncoderConfig(
        vision_encoder=Component(name=params.vision_encoder.name, config=vision),
        text_encoder=params.text_encoder,
        pooling=params.pooling,
        image_width=index.vision_width,
        grid=index.grids["captions"],
        text_width=index.text_width,
        matryoshka_dims=params.align.matryoshka_dims,
        **dataclasses.asdict(params.align.head),
    )
    return DualEncoder(config)
