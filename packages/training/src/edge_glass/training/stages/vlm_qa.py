"""Stage `vlm_qa`: visual tokens, fusion and decoder learn to answer questions about pictures.

Read from top to bottom: data, model, optimizer, resume, loop, save. Vision comes from the feature
cache; the pooling, where one is used, from `align`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_glass.decoders.ema import ExponentialMovingAverage
from edge_glass.encoders.checkpoint import check_tensors, load_checkpoint
from edge_glass.fusion.checkpoint import build_vlm
from edge_glass.fusion.config import as_options
from edge_glass.fusion.prompt import IGNORED
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.config import Params, fingerprint
from edge_glass.training.data.collate import (
    PackedQuestions,
    bucketed_batches,
    collate_questions,
    pack_questions,
)
from edge_glass.training.data.features import (
    FeatureIndex,
    gather,
    prepared_rows,
    read_index,
    vision_features,
)
from edge_glass.training.engine.curves import Curves
from edge_glass.training.engine.determinism import make_deterministic, reseed
from edge_glass.training.engine.optim import (
    build_adamw,
    learning_rate_factor,
    set_learning_rate,
)
from edge_glass.training.engine.progress import progress, say
from edge_glass.training.engine.state import StateFile, file_mark
from edge_glass.training.folders import ALIGNED, FEATURES, PREPARED, VLM
from edge_glass.training.losses.causal_lm import causal_lm_loss

CURVES = Path("plots/vlm_qa")


def run(params: Params) -> None:
    """Runs the stage."""
    config = params.vlm_qa
    make_deterministic(params.num_threads)

    # data
    rows = prepared_rows("questions", "train", PREPARED)
    features = vision_features("questions", "train")
    texts = [text for row in rows for text in (row["question"], row["answer"])]
    tokenizer = params.decoder.config.build_tokenizer(texts)
    samples = pack_questions(rows, tokenizer, config.max_questions)
    batches = BatchOrder(samples, config.batch_size, params.seed)

    # model
    reseed(params.seed, "vlm_qa", "init")
    model = build_model(params, read_index(), tokenizer)
    ema = ExponentialMovingAverage(model, config.ema_decay) if config.ema_decay else None
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    count = sum(value.numel() for value in trained.values())
    say(f"vlm_qa: {len(rows)} questions over {len(samples)} rows, {count / 1e6:.2f} M trained")

    # optimizer
    optimizer = build_adamw(
        [
            (model.visual_tokens, config.projector_learning_rate),
            (model.fusion, config.projector_learning_rate),
            (model.decoder, config.optim.learning_rate),
        ],
        config.optim,
    )

    # resume
    names = (
        "seed",
        "num_threads",
        "data_name",
        "vision_encoder",
        "pooling",
        "fusion",
        "decoder",
        "vlm_qa",
    )
    mark = fingerprint(params, *names) + file_mark(
        PREPARED / "questions", FEATURES / "index.json", ALIGNED / "config.json"
    )
    state_file = StateFile("vlm_qa", mark)
    tensors: dict[str, Tensor] = dict(trained)
    if ema:
        tensors.update({f"ema.{name}": value for name, value in ema.state_dict().items()})
    state = state_file.restore(tensors, optimizer)
    curves = Curves(CURVES, state)
    if state.step == 0:
        show_supervision(samples[0], tokenizer)

    # loop
    model.train()
    for step in progress(range(state.step, config.steps), "vlm_qa", total=config.steps,
                         start=state.step):  # fmt: skip
        batch = collate_questions(
            [samples[index] for index in batches.at(step)], tokenizer.pad_token_id
        )
        reseed(params.seed, "vlm_qa", step)
        factor = learning_rate_factor(
            step, steps=config.steps, warmup_steps=config.optim.warmup_steps
        )
        set_learning_rate(optimizer, factor)
        output = model(
            gather(features, batch.images), batch.input_ids, batch.segment_ids, batch.labels
        )
        loss_sum, num_tokens = causal_lm_loss(
            model.decoder.project,
            output.hidden_states,
            output.labels,
            label_smoothing=config.label_smoothing,
        )
        loss = loss_sum / num_tokens
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), config.optim.max_grad_norm)
        optimizer.step()
        if ema:
            ema.update()
        state.step = step + 1
        if state.step % config.log_steps == 0:
            curves.log(
                state.step,
                {
                    "loss": loss.item(),
                    "grad_norm": norm.item(),
                    "learning_rate": config.optim.learning_rate * factor,
                    "useful_token_share": batch.useful_share,
                },
            )
        if not torch.isfinite(norm):
            raise ValueError(
                f"vlm_qa: the gradient's norm is {norm.item()} at step {state.step}: lower "
                "learning_rate, or look at the data of this step"
            )
        if state.step % config.checkpoint_steps == 0:
            state_file.save(state, tensors, optimizer)

    # save
    curves.close()
    model.eval()
    if ema:
        with ema.applied():
            model.save_pretrained(VLM)
    else:
        model.save_pretrained(VLM)
    state_file.clear()


def build_model(params: Params, index: FeatureIndex, tokenizer: Any) -> VisionLanguageModel:
    """Builds the model with fresh weights, and the pooling's weights from `align`."""
    config = params.vlm_qa
    model = build_vlm(
        {
            "vision_encoder": params.vision_encoder.saved(),
            "image_size": index.image_sizes["questions"],
            "input_width": index.vision_width,
            "grid": list(index.grids["questions"]),
            "pooling": params.pooling.saved(),
            "fusion": params.fusion.saved(),
            "decoder": params.decoder.saved(),
            "visual_tokens": as_options(config.visual_tokens),
            "max_new_tokens": config.max_new_tokens,
        },
        tokenizer,
        where="params.yaml",
    )
    pooling = model.visual_tokens.pooling
    if pooling is not None:
        _, tensors = load_checkpoint(ALIGNED)
        own = {
            name.removeprefix("pooling."): value
            for name, value in tensors.items()
            if name.startswith("pooling.")
        }
        check_tensors(pooling.state_dict(), own, where=f"{ALIGNED}: pooling")
        pooling.load_state_dict(own, strict=True)
    return model


class BatchOrder:
    """Which samples a step takes, a function of (seed, step) alone."""

    def __init__(self, samples: list[PackedQuestions], batch_size: int, seed: int) -> None:
        self.lengths = [len(sample.input_ids) for sample in samples]
        self.batch_size = batch_size
        self.seed = seed
        self._epoch = -1
        self._batches: list[list[int]] = []

    def at(self, step: int) -> list[int]:
        """Returns the sample numbers of a step."""
        epoch, place = divmod(step, len(self.lengths) // self.batch_size)
        if epoch != self._epoch:
            self._batches = bucketed_batches(
                self.lengths, self.batch_size, seed=self.seed, epoch=epoch
            )
            self._epoch = epoch
        return self._batches[place]


def show_supervision(sample: PackedQuestions, tokenizer: Any) -> None:
    """Prints what is learned from the first sample, decoded, so that a person sees it."""
    ids, labels = np.array(sample.input_ids), np.array(sample.labels)
    learned = tokenizer.decode(ids[labels != IGNORED].tolist())
    say(f"vlm_qa: reads   {tokenizer.decode(ids.tolist())}")
    say(f"vlm_qa: learns  {learned}")
