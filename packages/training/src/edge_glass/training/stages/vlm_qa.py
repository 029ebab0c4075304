"""Stage `vlm_qa`: visual tokens, fusion and decoder learn to answer questions about pictures.

Read from top to bottom: data, model, optimizer, resume, loop, save. Vision comes from the feature
cache; the pooling, where one is used, from `align`. Several processes (see `engine/launch.py` for
what each launch does) work on shares of the batch's logical shards.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from edge_glass.encoders.checkpoint import check_tensors, load_checkpoint
from edge_glass.encoders.components import Component
from edge_glass.fusion.prompt import IGNORED
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig
from edge_glass.training.engine.determinism import make_deterministic, reseed
from edge_glass.training.engine.fingerprint import fingerprint
from edge_glass.training.engine.processes import Processes, join_processes
from edge_glass.training.engine.reduce import TreeSum
from edge_glass.training.features.cache import (
    FeatureIndex,
    prepared_rows,
    read_index,
    vision_features,
)
from edge_glass.training.folders import ALIGNED, FEATURES, PREPARED, VLM
from edge_glass.training.loop.best import Best
from edge_glass.training.loop.certificate import Certificate
from edge_glass.training.loop.curves import Curves, Speed, peak_memory
from edge_glass.training.loop.ema import ExponentialMovingAverage
from edge_glass.training.loop.level import proven_level
from edge_glass.training.loop.optim import (
    build_adamw,
    learning_rate_factor,
    set_learning_rate,
)
from edge_glass.training.loop.state import StateFile, file_mark
from edge_glass.training.runtime.progress import progress, say
from edge_glass.training.vlm_qa.answer_loss import AnswerLoss
from edge_glass.training.vlm_qa.batches import BatchPlan, QuestionSet, ShardSampler
from edge_glass.training.vlm_qa.launch import Launch, open_launch
from edge_glass.training.vlm_qa.packing import PackedQuestions, pack_questions
from edge_glass.training.vlm_qa.validation import validation_accuracy, validation_questions

if TYPE_CHECKING:
    from edge_glass.training.params import Params

CURVES = Path("plots/vlm_qa")
FINGERPRINT = (
    "seed", "num_threads", "reproducibility", "device", "data_name", "vision_encoder", "pooling",
    "fusion", "decoder", "vlm_qa",
)  # fmt: skip


def run(params: Params) -> None:
    """Runs the stage."""
    config = params.vlm_qa
    make_deterministic(params.num_threads, params.reproducibility)
    with (
        join_processes(params.device) as processes,
        open_launch(
            params.launch,
            processes,
            num_shards=config.num_shards,
            shard_size=config.batch_size // config.num_shards,
            max_grad_norm=config.optim.max_grad_norm,
        ) as launch,
    ):
        train(params, processes, launch)


def train(params: Params, processes: Processes, launch: Launch) -> None:
    """Trains, in one of the processes of a run."""
    config = params.vlm_qa

    # data
    index = read_index()
    rows = prepared_rows("questions", "train", PREPARED)
    texts = [text for row in rows for text in (row["question"], row["answer"]) if text]
    tokenizer = params.decoder.config.build_tokenizer(texts)
    samples, skipped = pack_questions(rows, tokenizer, config.max_questions, config.max_length)
    for reason, count in sorted(skipped.items()):
        say(f"vlm_qa: {count} of {len(rows)} questions left out: {reason}")
    plan = BatchPlan(samples, config.batch_size, config.num_shards, params.seed)
    validation = validation_questions(
        index.splits["questions"] if config.validation_steps else [],
        PREPARED,
        tokenizer,
        number=config.validation_questions,
        max_length=config.max_length,
    )

    # model
    reseed(params.seed, "vlm_qa", "init")
    model = build_model(params, index, tokenizer).train().to(processes.device)
    objective = AnswerLoss(
        model,
        label_smoothing=config.label_smoothing,
        use_bfloat16=processes.device.type == "cuda",
    )
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    count = sum(value.numel() for value in trained.values())
    level = proven_level(params, "vlm_qa")
    say(f"vlm_qa: {len(rows) - skipped.total()} questions over {len(samples)} rows, "
        f"{count / 1e6:.2f} M trained; proven: {level}")  # fmt: skip

    # optimizer
    optimizer = build_adamw(
        [
            (model.visual_tokens, config.projector_learning_rate),
            (model.fusion, config.projector_learning_rate),
            (model.decoder, config.optim.learning_rate),
        ],
        config.optim,
    )
    launch.prepare(objective, optimizer)

    # what is validated and handed on: the averaged weights, where there are any
    ema = ExponentialMovingAverage(model, config.ema_decay) if config.ema_decay else None
    averages: dict[str, Tensor] = ema.state_dict() if ema else {}
    best = Best(averages or trained, config.patience)

    # resume
    mark = fingerprint(params, *FINGERPRINT) + file_mark(
        PREPARED / "questions", FEATURES / "index.json", ALIGNED / "config.json"
    )
    state_file = StateFile("vlm_qa", f"{mark}\n{launch.mark(params.launch)}")
    others = {**{f"ema.{name}": value for name, value in averages.items()}, **best.saved()}
    state = launch.restore(state_file, trained, others)
    batches = launch.prepare_loader(
        question_loader(params, plan, samples, tokenizer, state.step, processes)
    )
    curves = Curves(CURVES, state, processes)
    speed = Speed("vlm_qa", state, processes)
    certificate = Certificate(
        "vlm_qa", state.chain, trained, processes,
        every=config.certificate_steps, seed=params.seed, level=level,
    )  # fmt: skip
    if state.step == 0:
        show_supervision(samples[0], tokenizer)

    # loop
    for step in progress(range(state.step, config.steps), "vlm_qa", total=config.steps,
                         start=state.step):  # fmt: skip
        if best.enough(state):
            say(f"vlm_qa: no better validation score since step {state.notes['best_step']:.0f}")
            break
        factor = learning_rate_factor(
            step, steps=config.steps, warmup_steps=config.optim.warmup_steps
        )
        set_learning_rate(launch.optimizer, factor)
        num_labelled, losses = plan.num_labelled(step), TreeSum()
        for shard in launch.shards:
            batch = next(batches)
            reseed(params.seed, "vlm_qa", step, shard)
            with launch.shard():
                loss = launch.objective(**batch) / num_labelled
                launch.backward(loss)
            losses.add(loss.detach()[None])
        norm = launch.step(config.optim.max_grad_norm, f"vlm_qa, step {step}")
        whole_loss = launch.loss(losses)
        if ema:
            ema.update()
        state.step = step + 1
        certificate.add(plan.batch(step), whole_loss, norm)
        useful = plan.num_useful(step)
        speed.count(config.batch_size, tokens=useful)
        count_padding(state.notes, useful, plan.num_padded(step))
        if state.step % config.log_steps == 0:
            curves.log(
                state.step,
                {
                    "loss": whole_loss,
                    "grad_norm": norm.item(),
                    "learning_rate": config.optim.learning_rate * factor,
                    "useful_token_share": useful_share(state.notes),
                },
            )
            speed.log(state.step, peak_memory_gb=peak_memory(processes.device))
        if validation and (state.step % config.validation_steps == 0 or state.step == config.steps):
            with ema.applied() if ema else nullcontext(), objective.autocast():
                accuracy = validation_accuracy(model, validation, processes)
            best.update(accuracy["mean"], state)
            curves.log(state.step, {f"accuracy_{name}": each for name, each in accuracy.items()})
        if state.step % config.checkpoint_steps == 0:
            launch.save(state_file, state, trained, others)

    # save
    curves.close()
    processes.wait()
    say(f"vlm_qa: {useful_share(state.notes):.3f} of the tokens were useful, the others padding; "
        f"peak memory {peak_memory(processes.device):.2f} GB")  # fmt: skip
    if processes.main:
        use_best = config.checkpoint == "best" and bool(validation)
        if use_best:
            say(f"vlm_qa: best at step {state.notes['best_step']:.0f}, "
                f"exact match {state.notes['best_score']:.3f}")  # fmt: skip
        model.eval()
        with best.applied() if use_best else nullcontext(), ema.applied() if ema else nullcontext():
            model.save_pretrained(VLM)
        certificate.write(VLM)
        state_file.clear()


def build_model(params: Params, index: FeatureIndex, tokenizer: Any) -> VisionLanguageModel:
    """Builds the model with fresh weights, and the pooling's weights from `align`."""
    visual_tokens = params.vlm_qa.visual_tokens
    image_size = index.image_sizes["questions"]
    vision = replace(params.vision_encoder.config, image_size=image_size)
    config = VlmConfig(
        vision_encoder=Component(name=params.vision_encoder.name, config=vision),
        visual_tokens=visual_tokens,
        pooling=None if visual_tokens.kind == "grid" else params.pooling,
        fusion=params.fusion,
        decoder=params.decoder,
        input_width=index.vision_width,
        grid=index.grids["questions"],
        image_size=image_size,
        max_new_tokens=params.vlm_qa.max_new_tokens,
    )
    model = VisionLanguageModel(config, tokenizer)
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


def question_loader(
    params: Params,
    plan: BatchPlan,
    samples: list[PackedQuestions],
    tokenizer: Any,
    start: int,
    processes: Processes,
) -> DataLoader[Any]:
    """Returns the shards of all steps from `start` on."""
    config = params.vlm_qa
    questions = QuestionSet(
        samples, vision_features("questions", "train"), int(tokenizer.pad_token_id)
    )
    return DataLoader(
        questions,
        batch_sampler=ShardSampler(plan, start, config.steps, processes),
        collate_fn=questions.collate,
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
    )


def show_supervision(sample: PackedQuestions, tokenizer: Any) -> None:
    """Prints what is learned from the first sample, decoded, so that a person sees it."""
    ids, labels = np.array(sample.input_ids), np.array(sample.labels)
    learned = tokenizer.decode(ids[labels != IGNORED].tolist())
    say(f"vlm_qa: reads   {tokenizer.decode(ids.tolist())}")
    say(f"vlm_qa: learns  {learned}")


def count_padding(notes: dict[str, float], useful: int, padded: int) -> None:
    """Adds a step's tokens to what the run has seen; they are part of its state."""
    notes["useful_tokens"] = notes.get("useful_tokens", 0.0) + useful
    notes["padded_tokens"] = notes.get("padded_tokens", 0.0) + padded


def useful_share(notes: dict[str, float]) -> float:
    """Returns the share of the tokens so far that were no padding."""
    return notes.get("useful_tokens", 0.0) / max(1.0, notes.get("padded_tokens", 0.0))
