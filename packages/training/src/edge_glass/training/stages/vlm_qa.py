"""Stage `vlm_qa`: visual tokens, fusion and decoder learn to answer questions about images.

Read from top to bottom: data, model, names, optimizer, run, loop, save; docs/training-step.md
explains one step with its shapes. The first `caption_steps` learn from captions, with the decoder
frozen. Image features come from the cache, and the pooling (if visual tokens use it) from `align`.
With several processes each works on its own microbatches of the batch; see `vlm_qa/launch.py`.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_glass.fusion.prompt import IGNORED
from edge_glass.training.engine.determinism import make_deterministic, reseed
from edge_glass.training.engine.order import fitted_batch_size
from edge_glass.training.engine.processes import Processes, join_processes
from edge_glass.training.engine.reduce import TreeSum
from edge_glass.training.features.cache import read_index, vision_features
from edge_glass.training.folders import ALIGNED, PREPARED, VLM
from edge_glass.training.loop.ema import ExponentialMovingAverage
from edge_glass.training.loop.guarantee import proven_level
from edge_glass.training.loop.optim import build_adamw, learning_rate_factor, set_learning_rate
from edge_glass.training.loop.run import Run
from edge_glass.training.loop.speed import peak_memory
from edge_glass.training.loop.state import StateFile
from edge_glass.training.runtime.fingerprint import fingerprint
from edge_glass.training.runtime.nothing_to_do import nothing_to_do, read_note, remove_note
from edge_glass.training.runtime.progress import say
from edge_glass.training.vlm_qa.answer_loss import AnswerLoss
from edge_glass.training.vlm_qa.batches import BatchPlan
from edge_glass.training.vlm_qa.config import VlmQaConfig
from edge_glass.training.vlm_qa.launch import Launch
from edge_glass.training.vlm_qa.launches import open_launch
from edge_glass.training.vlm_qa.loading import question_loader, with_live_features
from edge_glass.training.vlm_qa.mixture import Mixture
from edge_glass.training.vlm_qa.model import new_model
from edge_glass.training.vlm_qa.naming import learn_names
from edge_glass.training.vlm_qa.packing import Padding
from edge_glass.training.vlm_qa.reports import starting_lines, visual_length
from edge_glass.training.vlm_qa.token_arrays import PackedQuestions
from edge_glass.training.vlm_qa.training_data import read_training_data
from edge_glass.training.vlm_qa.validation import (
    deciding_score,
    validation_questions,
    validation_scores,
)

if TYPE_CHECKING:
    from edge_glass.training.params import Params


def run(params: Params) -> None:
    """Runs the stage."""
    make_deterministic(params.num_threads, params.reproducibility)
    with join_processes(params.device) as processes:
        absent = read_note(PREPARED / "questions")
        if absent is not None:
            if processes.main:
                nothing_to_do("vlm_qa", absent, VLM, Path("plots/vlm_qa"))
            return
        params = replace(params, vlm_qa=fitted_config(params.vlm_qa))
        config = params.vlm_qa
        with open_launch(
            params.launch,
            processes,
            num_microbatches=config.num_microbatches,
            microbatch_size=config.batch_size // config.num_microbatches,
            max_grad_norm=config.optim.max_grad_norm,
        ) as launch:
            train(params, processes, launch)
        remove_note(VLM)


def fitted_config(config: VlmQaConfig) -> VlmQaConfig:
    """Returns the config with a batch that the training images can fill.

    Without captions there is no aligned space, so that words are not matched.
    """
    absent = read_note(ALIGNED)
    if config.visual_tokens.aligned_dim and absent is not None:
        say(f"vlm_qa: words are not matched with patches, because align did nothing ({absent})")
        config = replace(config, visual_tokens=replace(config.visual_tokens, aligned_dim=0))
    kinds = ("questions", "captions") if config.uses_captions else ("questions",)
    number = min(len(vision_features(kind, "train")) for kind in kinds)
    size = fitted_batch_size(config.batch_size, config.num_microbatches, number, "vlm_qa")
    if size < config.batch_size:
        say(
            f"vlm_qa: batch_size is {size} in place of {config.batch_size}, because there are only "
            f"{number} training images"
        )
    return replace(config, batch_size=size)


def train(params: Params, processes: Processes, launch: Launch) -> None:
    """Trains, in one of the processes of a run."""
    config, seed = params.vlm_qa, params.seed

    # data: the questions of each image packed in one row, and the plan of all batches
    index = read_index()
    data = read_training_data(params, index, processes)
    tokenizer, samples, captions_first = data.tokenizer, data.samples, config.caption_steps
    plan = BatchPlan(
        samples, config.batch_size, config.num_microbatches, seed,
        mixture=Mixture(data.sizes, config.mixture.weights, seed),
        first=(captions_first, Mixture(data.sizes, (0.0, 1.0), seed)),
    )  # fmt: skip
    validation = validation_questions(
        index.splits["questions"] if config.validation_steps else [],
        PREPARED,
        tokenizer,
        config,
    )

    # model: fresh weights, apart from the pooling of `align` and a pretrained decoder
    reseed(seed, "vlm_qa", "init")
    model = new_model(params, index, data, processes.device).train()
    mark = f"{launch.mark(params.launch)}, {str(model.decoder.dtype).removeprefix('torch.')}"
    file = StateFile("vlm_qa", fingerprint(params, "vlm_qa"), mark)

    # names: first the image head learns alone what patches show, see `vlm_qa/naming.py`
    if not file.continues():
        learn_names(model, data, config.naming, seed, config.num_workers)
    objective = AnswerLoss(
        model, label_smoothing=config.label_smoothing, naming_weight=config.naming.weight
    )
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    count = sum(value.numel() for value in trained.values())
    level = proven_level(params, "vlm_qa")
    say(f"vlm_qa: {data.num_learned} questions over {len(samples)} rows, "
        f"{count / 1e6:.2f} M trained; proven: {level}")  # fmt: skip
    patches = math.prod(index.grids["questions"])
    num_visual = visual_length(model, patches, index.vision_width)
    padding = Padding.on(processes.device, num_visual, model.decoder.max_positions)
    for line in starting_lines(model, samples, num_visual, params.reproducibility):
        say(f"vlm_qa: {line}")

    # optimizer: the projector has its own learning rate
    optimizer = build_adamw(
        [
            (model.visual_tokens, config.projector_learning_rate),
            (model.fusion, config.projector_learning_rate),
            (model.decoder, config.optim.learning_rate),
            *([(model.matches, config.projector_learning_rate)] if model.matches else []),
        ],
        config.optim,
    )
    launch.prepare(objective, optimizer)
    # averaged weights, if there are any, are the ones that are validated and saved
    ema = ExponentialMovingAverage(model, config.ema_decay) if config.ema_decay else None

    # run: continues from the saved state of an interrupted run with the same inputs, if any
    all_steps = captions_first + config.steps
    run = Run(
        "vlm_qa", replace(config, steps=all_steps), trained, launch, processes,
        fingerprint=file.fingerprint, launch=mark, params=params, level=level,
        averages=ema.averages() if ema else None,
    )  # fmt: skip
    if run.state.step == 0:
        show_supervision(samples[0], tokenizer)
    ahead = (run.state.step, all_steps)
    batches = launch.prepare_loader(question_loader(config, plan, data, ahead, processes, padding))
    batches = with_live_features(batches, config, plan, data, ahead, launch.microbatches)
    launch.freeze(model.decoder if run.state.step < captions_first else None)

    for step in run.steps():
        # captions first: then everything trains, and optimizer and average begin again
        if captions_first and step == captions_first:
            launch.freeze(None)
            launch.optimizer.state.clear()
            if ema:
                ema.restart()

        # forward, loss, backward: gradients accumulate over this process's microbatches
        num_labelled, losses = plan.num_labelled(step), TreeSum()
        for microbatch in launch.microbatches:
            batch = next(batches)  # features (n, P, D); input_ids, segment_ids, labels (n, T)
            reseed(seed, "vlm_qa", step, microbatch)
            with launch.microbatch():
                loss = launch.objective(**batch) / num_labelled  # ()
                launch.backward(loss)
            losses.add([loss.detach()])

        # step: clip, update the weights at this step's learning rate, then their average
        factor = phase_factor(config, step)
        set_learning_rate(launch.optimizer, factor)
        norm = launch.step(config.optim.max_grad_norm, f"vlm_qa, step {step}")
        if ema:
            ema.update()

        # log: the certificate gets every step, the curves every `log_steps` steps
        whole_loss, useful = launch.loss(losses), plan.num_useful(step)
        run.count(plan.batch(step), whole_loss, norm, samples=config.batch_size, tokens=useful)
        count_padding(run.state.notes, useful, plan.num_padded(step, padding))
        if run.log_due():
            with_captions = step < captions_first
            run.log(
                {
                    "caption_loss" if with_captions else "loss": whole_loss,
                    "grad_norm": norm.item(),
                    "learning_rate": 0.0 if with_captions else config.optim.learning_rate * factor,
                    "useful_token_share": useful_share(run.state.notes),
                },
                peak_memory_gb=peak_memory(processes.device),
            )

        # at intervals: answer validation questions, and save the state
        if validation and step >= captions_first and run.validation_due():
            with ema.applied() if ema else nullcontext():
                run.score(validation_scores(model, validation, processes))
        run.save_if_due()

    # save: the weights that the next stages use, and the certificate
    run.end()
    say(f"vlm_qa: {useful_share(run.state.notes):.3f} of the tokens were useful, the others "
        f"padding; peak memory {peak_memory(processes.device):.2f} GB")  # fmt: skip
    if processes.main:
        model.eval()
        with (
            run.chosen_weights(deciding_score(validation)),
            ema.applied() if ema else nullcontext(),
        ):
            model.save_pretrained(VLM)
        run.certify(VLM)


def phase_factor(config: VlmQaConfig, step: int) -> float:
    """Returns the share of the peak rates at a step: captions and questions each have a schedule.

    The warm-up on captions takes at most half of their steps.
    """
    border, warmup = config.caption_steps, config.optim.warmup_steps
    if step < border:
        return learning_rate_factor(step, steps=border, warmup_steps=min(warmup, border // 2))
    return learning_rate_factor(step - border, steps=config.steps, warmup_steps=warmup)


def show_supervision(sample: PackedQuestions, tokenizer: Any) -> None:
    """Prints what the first sample supervises, decoded, so that a person can check it."""
    ids, labels = np.array(sample.input_ids), np.array(sample.labels)
    learned = tokenizer.decode(ids[labels != IGNORED].tolist())
    say(f"vlm_qa: reads   {tokenizer.decode(ids.tolist())}")
    say(f"vlm_qa: learns  {learned}")


def count_padding(notes: dict[str, float], useful: int, padded: int) -> None:
    """Adds the tokens of a step to the counts, which are part of the run's state."""
    notes["useful_tokens"] = notes.get("useful_tokens", 0.0) + useful
    notes["padded_tokens"] = notes.get("padded_tokens", 0.0) + padded


def useful_share(notes: dict[str, float]) -> float:
    """Returns the share of the tokens so far that were not padding."""
    return notes.get("useful_tokens", 0.0) / max(1.0, notes.get("padded_tokens", 0.0))
