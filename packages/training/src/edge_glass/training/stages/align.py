"""Stage `align`: pooling and Matryoshka heads learn to bring pictures and captions together.

Read from top to bottom: data, model, optimizer, resume, loop, save. Both encoders are frozen and
come from the feature cache.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import torch
from torch import Tensor

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig
from edge_glass.training.config import Params, fingerprint
from edge_glass.training.data.captions import caption_rows
from edge_glass.training.data.features import (
    FeatureIndex,
    gather,
    read_index,
    vision_features,
)
from edge_glass.training.engine.curves import Curves
from edge_glass.training.engine.determinism import generator, make_deterministic, reseed
from edge_glass.training.engine.optim import (
    build_adamw,
    learning_rate_factor,
    set_learning_rate,
)
from edge_glass.training.engine.order import step_batch
from edge_glass.training.engine.progress import progress, say
from edge_glass.training.engine.state import StateFile, file_mark
from edge_glass.training.folders import ALIGNED, FEATURES, PREPARED
from edge_glass.training.losses.matryoshka import MatryoshkaLoss

CURVES = Path("plots/align")
MAX_LOGIT_SCALE = math.log(100.0)


def run(params: Params) -> None:
    """Runs the stage."""
    config = params.align
    make_deterministic(params.num_threads)

    # data
    rows = caption_rows("train", PREPARED)
    vision = vision_features("captions", "train")

    # model
    reseed(params.seed, "align", "init")
    model = build_model(params, read_index()).train()
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
    say(f"align: {len(rows.images)} pairs, {count / 1e6:.2f} M parameters")

    # optimizer
    optimizer = build_adamw([(model, config.optim.learning_rate)], config.optim)

    # resume
    names = (
        "seed",
        "num_threads",
        "data_name",
        "vision_encoder",
        "text_encoder",
        "pooling",
        "align",
    )
    mark = fingerprint(params, *names) + file_mark(PREPARED / "captions", FEATURES / "index.json")
    state_file = StateFile("align", mark)
    tensors: dict[str, Tensor] = dict(trained)
    state = state_file.restore(tensors, optimizer)
    curves = Curves(CURVES, state)

    # loop
    for step in progress(range(state.step, config.steps), "align", total=config.steps,
                         start=state.step):  # fmt: skip
        batch = step_batch(len(rows.images), config.batch_size, seed=params.seed, step=step)
        texts = rows.draw_texts(batch, seed=params.seed, step=step)
        draws = torch.rand(len(batch), generator=generator(params.seed, "text_dropout", step))
        keep_text = draws >= config.text_dropout
        reseed(params.seed, "align", step)
        factor = learning_rate_factor(
            step, steps=config.steps, warmup_steps=config.optim.warmup_steps
        )
        set_learning_rate(optimizer, factor)
        groups = rows.groups[batch]
        loss = objective(
            model.image_embeddings(gather(vision, rows.images[batch])),
            model.text_embeddings(rows.features[texts]),
            model.logit_scale,
            groups,
            groups,
            keep_text,
            step=step,
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), config.optim.max_grad_norm)
        if not torch.isfinite(norm):
            raise ValueError(
                f"align: the gradient's norm is {norm.item()} at step {step}: lower learning_rate, "
                "or encode again with dtype float32"
            )
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        state.step = step + 1
        if state.step % config.log_steps == 0:
            curves.log(
                state.step,
                {
                    "loss": loss.item(),
                    "grad_norm": norm.item(),
                    "learning_rate": config.optim.learning_rate * factor,
                    "logit_scale": model.logit_scale.item(),
                },
            )
        if state.step % config.checkpoint_steps == 0:
            state_file.save(state, tensors, optimizer)

    # save
    curves.close()
    model.save_pretrained(ALIGNED)
    state_file.clear()


def build_model(params: Params, index: FeatureIndex) -> DualEncoder:
    """Builds the trained part of the dual encoder, with fresh weights."""
    vision = dataclasses.replace(
        params.vision_encoder.config, image_size=index.image_sizes["captions"]
    )
    config = DualEncoderConfig(
        vision_encoder=params.vision_encoder.name,
        vision_encoder_config=vision,
        text_encoder=params.text_encoder.name,
        text_encoder_config=params.text_encoder.config,
        pooling=params.pooling.name,
        pooling_config=params.pooling.config,
        image_width=index.vision_width,
        grid=index.grids["captions"],
        text_width=index.text_width,
        matryoshka_dims=params.align.matryoshka_dims,
        **dataclasses.asdict(params.align.head),
    )
    return DualEncoder(config)
