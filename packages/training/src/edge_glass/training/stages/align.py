"""Stage `align`: pooling and Matryoshka heads learn to bring pictures and captions together.

Read from top to bottom: data, model, optimizer, resume, loop, save. Both encoders are frozen and
come from the feature cache. In several processes (`torchrun --no-python edge-glass align`) each
works on a share of the batch's logical shards; the bytes are those of one process.
"""

from __future__ import annotations

import dataclasses
import math
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
from edge_glass.training.align.matryoshka import MatryoshkaLoss
from edge_glass.training.align.pictures import AugmentedPictures, CachedPictures, Pictures
from edge_glass.training.align.validation import validation_recall, validation_splits
from edge_glass.training.engine.determinism import generator, make_deterministic, reseed
from edge_glass.training.engine.fingerprint import fingerprint
from edge_glass.training.engine.order import step_batch
from edge_glass.training.engine.processes import Processes, join_processes
from edge_glass.training.features.cache import FeatureIndex, check_encoders, read_index
from edge_glass.training.features.captions import caption_rows
from edge_glass.training.folders import ALIGNED, FEATURES, PREPARED
from edge_glass.training.loop.best import Best
from edge_glass.training.loop.certificate import Certificate
from edge_glass.training.loop.curves import Curves, Speed
from edge_glass.training.loop.level import proven_level
from edge_glass.training.loop.optim import (
    build_adamw,
    clip_gradients,
    learning_rate_factor,
    set_learning_rate,
)
from edge_glass.training.loop.state import StateFile, file_mark
from edge_glass.training.runtime.progress import progress, say

if TYPE_CHECKING:
    from edge_glass.training.params import Params

CURVES = Path("plots/align")
MAX_LOGIT_SCALE = math.log(100.0)
FINGERPRINT = (
    "seed", "num_threads", "reproducibility", "device", "data_name", "vision_encoder",
    "text_encoder", "pooling", "align",
)  # fmt: skip


def run(params: Params) -> None:
    """Runs the stage."""
    make_deterministic(params.num_threads, params.reproducibility)
    with join_processes(params.device) as processes:
        train(params, processes)


def train(params: Params, processes: Processes) -> None:
    """Trains, in one of the processes of a run."""
    config, device = params.align, processes.device

    # data
    index = read_index()
    check_encoders(index, vision=params.vision_encoder.name, text=params.text_encoder.name)
    rows = caption_rows("train", PREPARED)
    pictures = open_pictures(params, index, device)
    validation = validation_splits(index.splits["captions"], PREPARED)

    # model
    reseed(params.seed, "align", "init")
    model = build_model(params, index).train().to(device)
    objective = MatryoshkaLoss(
        config.matryoshka_dims,
        config.matryoshka_weights,
        config.n_dims_per_step,
        seed=params.seed,
        matryoshka_weight=config.matryoshka_weight,
        contrastive_weight=config.contrastive_weight,
    )
    trained = dict(model.named_parameters())
    count = sum(value.numel() for value in trained.values())
    level = proven_level(params, "align")
    say(f"align: {len(rows.images)} pairs, {count / 1e6:.2f} M parameters; proven: {level}")

    # optimizer
    rate = config.optim.learning_rate
    pooling_rate = config.pooling_learning_rate or rate
    optimizer = build_adamw([(model.pooling, pooling_rate), (model, rate)], config.optim)
    cache = GradientCache(
        list(trained.values()),
        model.logit_scale,
        batch_size=config.batch_size,
        num_shards=config.num_shards,
        recompute=config.gradient_cache,
        processes=processes,
    )

    # resume
    mark = fingerprint(params, *FINGERPRINT) + file_mark(
        PREPARED / "captions", FEATURES / "index.json"
    )
    state_file = StateFile("align", mark)
    best, alarm = Best(trained, config.patience), CollapseAlarm(config.collapse_steps)
    tensors: dict[str, Tensor] = {**trained, **best.saved()}
    state = state_file.restore(tensors, optimizer)
    curves = Curves(CURVES, state, processes)
    speed = Speed("align", state, processes)
    certificate = Certificate(
        "align", state.chain, trained, processes,
        every=config.certificate_steps, seed=params.seed, level=level,
    )  # fmt: skip

    # loop
    for step in progress(range(state.step, config.steps), "align", total=config.steps,
                         start=state.step):  # fmt: skip
        if best.enough(state):
            say(f"align: no better validation score since step {state.notes['best_step']:.0f}")
            break
        batch = step_batch(len(rows.images), config.batch_size, seed=params.seed, step=step)
        texts = rows.draw_texts(batch, seed=params.seed, step=step)
        draws = torch.rand(len(batch), generator=generator(params.seed, "text_dropout", step))

        def embed(
            shard: int, part: slice, step: int = step, batch: Tensor = batch, texts: Tensor = texts
        ) -> tuple[Tensor, Tensor]:
            reseed(params.seed, "align", step, shard)
            features = pictures.features(rows.images[batch[part]], step=step).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                image = model.image_embeddings(features)
                text = model.text_embeddings(rows.features[texts[part]].to(device))
            return image.float(), text.float()

        factor = learning_rate_factor(
            step, steps=config.steps, warmup_steps=config.optim.warmup_steps
        )
        set_learning_rate(optimizer, factor)
        result = cache.step(
            embed,
            objective.terms_at(step),
            rows.groups[batch].to(device),
            (draws >= config.text_dropout).to(device),
        )
        norm = clip_gradients(trained.values(), config.optim.max_grad_norm, f"align, step {step}")
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        state.step = step + 1
        certificate.add(batch.tolist(), result.loss.item(), norm)
        alarm.check(result.loss.item(), result.chance.item(), state)
        speed.count(config.batch_size)
        if state.step % config.log_steps == 0:
            curves.log(
                state.step,
                {
                    "loss": result.loss.item(),
                    "grad_norm": norm.item(),
                    "learning_rate": rate * factor,
                    "logit_scale": model.logit_scale.item(),
                },
            )
            speed.log(state.step)
        if validation and (state.step % config.validation_steps == 0 or state.step == config.steps):
            recall = validation_recall(model, validation, config.matryoshka_dims)
            best.update(recall["mean"], state)
            curves.log(state.step, {f"recall_{name}": value for name, value in recall.items()})
        if state.step % config.checkpoint_steps == 0 and processes.main:
            state_file.save(state, tensors, optimizer)

    # save
    curves.close()
    processes.wait()
    if processes.main:
        model.save_pretrained(ALIGNED / "last")
        if config.checkpoint == "best" and validation:
            say(f"align: best at step {state.notes['best_step']:.0f}, "
                f"mean R@1 {state.notes['best_score']:.3f}")  # fmt: skip
            with best.applied():
                model.save_pretrained(ALIGNED)
        else:
            model.save_pretrained(ALIGNED)
        certificate.write(ALIGNED)
        state_file.clear()


def open_pictures(params: Params, index: FeatureIndex, device: torch.device) -> Pictures:
    """Returns the training pictures: from the cache, or changed and encoded at each step."""
    if params.align.augmentation is None:
        return CachedPictures("captions", "train")
    encoder = params.vision_encoder.config.build(image_size=index.image_sizes["captions"])
    return AugmentedPictures(
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
