"""The recursive decoder against a plain one, at equal parameters and at equal compute.

Run:    python benchmarks/trm.py --steps 1500
Needs:  edge-glass-training, and in artifacts/ what `dvc repro encode` writes

Three decoders learn the sample's questions from the same features, batches, order and rate: `trm`
as in params.yaml, and Qwen2 decoders of the same width, heads and inner width with as many layers
as trm's block has (equal parameters) and with as many as its recursion costs (equal compute: with n
updates and T cycles the block runs T(n+1) times forward, and n+1 times backward at twice the cost).
The table gives exact match on questions of the validation splits, with averaged weights. At few
steps it tells how fast they learn, not where they end.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path

import torch

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.trm import TinyRecursiveConfig
from edge_glass.encoders.components import Component
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig
from edge_glass.training.engine.determinism import reseed
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import prepared_rows, read_index, vision_features
from edge_glass.training.folders import FEATURES, PREPARED
from edge_glass.training.loop.ema import ExponentialMovingAverage
from edge_glass.training.loop.optim import (
    build_adamw,
    clip_gradients,
    learning_rate_factor,
    set_learning_rate,
)
from edge_glass.training.params import load_params
from edge_glass.training.vlm_qa.answer_loss import AnswerLoss
from edge_glass.training.vlm_qa.batches import BatchPlan, QuestionSet
from edge_glass.training.vlm_qa.packing import pack_questions
from edge_glass.training.vlm_qa.validation import validation_accuracy, validation_questions


def plain(trm: TinyRecursiveConfig, num_layers: int) -> Component:
    """Give a Qwen2 decoder of trm's sizes with its own number of layers."""
    sizes = {
        "hidden_size": trm.width,
        "intermediate_size": trm.intermediate_dim,
        "num_hidden_layers": num_layers,
        "num_attention_heads": trm.num_heads,
        "num_key_value_heads": trm.num_heads,
        "tie_word_embeddings": trm.tie_word_embeddings,
    }
    return Component(name="qwen2_5_tiny", config=CausalLmConfig(config=sizes))


def layers_of_equal_compute(trm: TinyRecursiveConfig) -> int:
    """Return how many plain layers cost a training step of trm (backward costs twice forward)."""
    calls = trm.num_latent_updates + 1
    forward, backward = trm.num_cycles * calls, 2 * calls
    steps = trm.num_supervision_steps * trm.num_layers
    return max(1, round(steps * (forward + backward) / 3))


def train(decoder: Component, steps: int, num_questions: int) -> dict[str, float]:
    """Train one model; return its size, time a step and exact match by validation split."""
    params = load_params(Path("params.yaml"))
    config, index = params.vlm_qa, read_index()
    rows = prepared_rows("questions", "train", PREPARED)
    texts = [text for row in rows for text in (row["question"], row["answer"]) if text]
    tokenizer = TinyRecursiveConfig().build_tokenizer(texts)  # the same words for all
    samples, _ = pack_questions(rows, tokenizer, config.max_questions, config.max_length)
    plan = BatchPlan(samples, config.batch_size, config.num_microbatches, params.seed)
    questions = QuestionSet(
        samples, vision_features("questions", "train"), int(tokenizer.pad_token_id)
    )
    reseed(params.seed, "trm", "init")
    vlm_config = VlmConfig(
        vision_encoder=params.vision_encoder,
        visual_tokens=dataclasses.replace(config.visual_tokens, kind="grid"),
        pooling=None,
        fusion=params.fusion,
        decoder=decoder,
        input_width=index.vision_width,
        grid=index.grids["questions"],
        image_size=index.image_sizes["questions"],
        max_new_tokens=config.max_new_tokens,
    )
    model = VisionLanguageModel(vlm_config, tokenizer).train()
    objective = AnswerLoss(model, label_smoothing=config.label_smoothing)
    optimizer = build_adamw(
        [
            (model.visual_tokens, config.projector_learning_rate),
            (model.fusion, config.projector_learning_rate),
            (model.decoder, config.optim.learning_rate),
        ],
        config.optim,
    )
    parameters = list(model.parameters())
    ema = ExponentialMovingAverage(model, min(config.ema_decay, 1 - 10 / steps))
    start = time.perf_counter()
    for step in range(steps):
        warmup = min(config.optim.warmup_steps, steps // 5)
        factor = learning_rate_factor(step, steps=steps, warmup_steps=warmup)
        set_learning_rate(optimizer, factor)
        reseed(params.seed, "trm", step)
        batch = questions.collate([samples[number] for number in plan.batch(step)])
        (objective(**batch) / plan.num_labelled(step)).backward()
        clip_gradients(parameters, config.optim.max_grad_norm, f"step {step}")
        optimizer.step()
        optimizer.zero_grad()
        ema.update()
    seconds = (time.perf_counter() - start) / steps
    validation = validation_questions(
        index.splits["questions"], PREPARED, tokenizer,
        dataclasses.replace(config, validation_questions=num_questions),
    )  # fmt: skip
    with ema.applied():
        accuracy = validation_accuracy(model, validation, Processes())
    block = sum(each.numel() for each in model.decoder.parameters())
    return {"parameters": block, "ms": seconds * 1e3, **accuracy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--questions", type=int, default=512, help="of each validation split")
    arguments = parser.parse_args()
    if not (FEATURES / "index.json").is_file() or not PREPARED.is_dir():
        print(f"trm: skipped, there is no {FEATURES}/index.json; run `dvc repro encode` first")
        return
    torch.set_num_threads(arguments.threads)
    params = load_params(Path("params.yaml"))
    trm = (
        params.decoder.config
        if isinstance(params.decoder.config, TinyRecursiveConfig)
        else TinyRecursiveConfig(norm="pre")
    )
    more = layers_of_equal_compute(trm)
    rivals = {
        f"trm, n={trm.num_latent_updates}, T={trm.num_cycles}": Component(name="trm", config=trm),
        f"plain, {trm.num_layers} layers (equal parameters)": plain(trm, trm.num_layers),
        f"plain, {more} layers (equal compute)": plain(trm, more),
    }  # fmt: skip
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.steps} steps, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for name, decoder in rivals.items():
        found = train(decoder, arguments.steps, arguments.questions)
        scores = ", ".join(
            f"{split} {100 * score:.1f} %" for split, score in found.items()
            if split not in ("parameters", "ms")
        )  # fmt: skip
        print(f"{name:38} {found['parameters'] / 1e3:6.0f} k, {found['ms']:5.0f} ms a step: "
              f"{scores}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
