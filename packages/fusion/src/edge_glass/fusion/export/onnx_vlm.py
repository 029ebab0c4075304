"""A vision-language model as four ONNX graphs.

    vision   pixel_values (batch, 3, H, W)   -> features (batch, P, D)
    prefix   features                        -> visual (batch, N, Dv), prefix (batch, K, D)
    prefill  visual or prefix, input_ids     -> logits (batch, V) of the next word, present_*
    decode   visual, input_ids (batch, 1), past_* -> logits, present_*

Prefill and decode take `visual` or `prefix` if the fusion uses it: with `concat` the prefix stands
in front of the prompt, with the others each word attends to the visual tokens. A batch has prompts
of one length; the runtime answers questions one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_glass.fusion.edge.config import CONFIG_FILE, FORMAT
from edge_glass.fusion.edge.config import VLM as KIND
from edge_glass.fusion.edge.folder import TOKENIZER_FILE, Arrays
from edge_glass.fusion.edge.vlm import PAST, PRESENT, EdgeVlm
from edge_glass.fusion.export.growing_cache import cache_axis, max_positions, past_of
from edge_glass.fusion.export.held_out import AskedImages, open_image
from edge_glass.fusion.export.onnx_dual_encoder import SUFFIXES, save_tokenizer, write_config
from edge_glass.fusion.export.onnx_graph import WriteGraph, write_graph
from edge_glass.fusion.export.parity import check_limits, differences
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel

NAMES = ("vision", "prefix", "prefill", "decode")
QUESTION = "\u2603"  # in place of a question; no chat template contains it

STEPS = [
    "visual, prefix = prefix(vision(pixel_values))",
    "if strip: remove white space around the question",
    "input_ids: before_question + question + after_question, without special tokens added",
    "logits, present_* = prefill(...); the next word is that of the largest logit",
    "stop at one of stop_ids, after max_new_tokens words, or if a cached tensor's cache_axis has "
    "max_positions",
    "logits, present_* = decode(..., input_ids of that one word, past_* = the last present_*)",
    "the answer: the words decoded without special tokens, white space around it removed",
]


class Prefix(nn.Module):
    """Features to visual tokens, and to the positions in front of the text, if there are any."""

    def __init__(self, model: VisionLanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        visual = self.model.see(features)
        prefix = self.model.fusion.prefix(visual)
        if self.model.start_id is not None:
            ids = torch.full((1, 1), self.model.start_id, device=features.device)
            start = self.model.decoder.embed(ids).expand(features.shape[0], -1, -1)
            prefix = torch.cat([start, prefix], dim=1)
        return (visual, prefix) if prefix.shape[1] else (visual,)


class Step(nn.Module):
    """A prompt behind its prefix, or one more word, to the logits of the next word."""

    def __init__(self, model: VisionLanguageModel) -> None:
        super().__init__()
        self.model, self.decoder = model, model.decoder

    def forward(
        self, visual: Tensor, prefix: Tensor | None, input_ids: Tensor, past: list[Tensor]
    ) -> tuple[Tensor, ...]:
        embeds = self.model.fusion.extend(visual, self.model.embed(visual, input_ids))
        if prefix is not None:
            embeds = torch.cat([prefix, embeds], dim=1)
        cached = past_of(self.decoder, past)
        length = cached.num_positions + embeds.shape[1]
        mask = torch.ones(embeds.shape[0], length, dtype=torch.long, device=embeds.device)
        output = self.decoder(
            embeds,
            mask,
            cache=cached.cache,
            use_cache=True,
            prefix_length=0 if prefix is None else prefix.shape[1],
        )
        logits = self.decoder.project(output.hidden_states[-1][:, -1])
        return logits, *cached.present()


class Prefill(nn.Module):
    """`Step` without a past."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, visual: Tensor, prefix: Tensor, input_ids: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self.step(
            visual, prefix if prefix.shape[1] else None, input_ids, []
        )
        return found


class Decode(nn.Module):
    """`Step` for one word after a past."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, visual: Tensor, input_ids: Tensor, past: list[Tensor]) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self.step(visual, None, input_ids, past)
        return found


def write_graphs(model: VisionLanguageModel, folder: Path, write: WriteGraph = write_graph) -> None:
    """Writes the four graphs in float32."""
    encoder = model.vision_encoder
    assert encoder is not None
    pixels = torch.zeros(2, 3, encoder.image_size, encoder.image_size)
    write(
        encoder,
        {"pixel_values": pixels},
        ["features"],
        {"pixel_values": {0: "batch"}},
        folder / "vision.onnx",
    )
    write_decoder_graphs(model, encoder(pixels).float(), folder, write)


def write_decoder_graphs(
    model: VisionLanguageModel, features: Tensor, folder: Path, write: WriteGraph = write_graph
) -> None:
    """Writes all graphs but the vision encoder's; `features` (2, P, D) are an example."""
    batch = {0: "batch"}
    with torch.no_grad():
        visual, *rest = Prefix(model)(features)
    write(
        Prefix(model).eval(),
        {"features": features},
        ["visual", "prefix"][: 1 + len(rest)],
        {"features": batch},
        folder / "prefix.onnx",
    )
    prefix = rest[0] if rest else visual.new_zeros(2, 0, model.decoder.width)
    ids = torch.tensor([[1, 2, 3], [1, 2, 3]])
    step = Step(model).eval()
    with torch.no_grad():
        past = list(Prefill(step)(visual, prefix, ids)[1:])
    names = [f"{PRESENT}{number}" for number in range(len(past))]
    write(
        Prefill(step).eval(),
        {"visual": visual, "prefix": prefix, "input_ids": ids},
        ["logits", *names],
        {"visual": batch, "prefix": batch, "input_ids": {0: "batch", 1: "tokens"}},
        folder / "prefill.onnx",
    )
    axes = {0: "batch", cache_axis(model.decoder): "past"}
    write(
        Decode(step).eval(),
        {"visual": visual, "input_ids": ids[:, :1], PAST: past},
        ["logits", *names],
        {"visual": batch, "input_ids": batch, PAST: axes},
        folder / "decode.onnx",
    )


def write_data(model: VisionLanguageModel, folder: Path, precisions: Sequence[str]) -> None:
    """Writes config.json and the tokenizer."""
    assert model.vision_encoder is not None
    save_tokenizer(model.tokenizer, folder)
    rows, columns = model.config.grid
    with torch.no_grad():
        visual, *prefix = Prefix(model)(torch.zeros(1, rows * columns, model.config.input_width))
    config = {
        "format": FORMAT,
        "kind": KIND,
        "image": model.vision_encoder.transform.as_data(),
        "num_visual_tokens": visual.shape[1],
        "num_prefix_positions": prefix[0].shape[1] if prefix else 0,
        "max_positions": max_positions(model.decoder),
        "text": {
            "tokenizer": TOKENIZER_FILE,
            **prompt_parts(model),
            "stop_ids": [int(model.tokenizer.eos_token_id), *model.decoder.stop_ids],
            "max_new_tokens": model.config.max_new_tokens,
            "cache_axis": cache_axis(model.decoder),
            "steps": STEPS,
        },
        "graphs": {
            precision: {name: f"onnx/{name}{SUFFIXES[precision]}.onnx" for name in NAMES}
            for precision in precisions
        },
    }
    write_config(folder / CONFIG_FILE, config)


def prompt_parts(model: VisionLanguageModel) -> dict[str, Any]:
    """Returns the texts before and after a question in the chat template, as data.

    Raises:
        ValueError: if the template changes a question in a way that this can't express.
    """
    tokenizer = model.tokenizer

    def rendered(question: str) -> str:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        return str(text)

    before, found, after = rendered(QUESTION).partition(QUESTION)
    strip = rendered(f" {QUESTION} ") == rendered(QUESTION)
    asked = "How many dogs are there?"
    if not found or rendered(asked) != before + asked + after:
        raise ValueError("this format can't express a chat template that changes the question")
    if model.start_id is not None:  # the graph `prefix` has it
        before = before.removeprefix(str(tokenizer.bos_token))
    ids = tokenizer(before + asked + after, add_special_tokens=False)["input_ids"]
    if ids != prompt_ids(tokenizer, asked):
        raise ValueError("this format can't express a tokenizer that changes the chat template")
    return {"before_question": before, "after_question": after, "strip": strip}


def compare(
    model: VisionLanguageModel, folder: Path, precisions: Sequence[str], held_out: AskedImages
) -> dict[str, Any]:
    """Compares the exported graphs with the model; returns a report per precision.

    The differences are those of the logits of each answer's first word.

    Raises:
        ParityError: if a figure is beyond the limits.
    """
    images = [open_image(each) for each in held_out.images]
    starts = [
        at
        for at, content in enumerate(held_out.images)
        if at == 0 or content != held_out.images[at - 1]
    ]
    asked = [
        (images[start], held_out.questions[start:end])
        for start, end in zip(starts, [*starts[1:], len(images)], strict=True)
    ]
    answers: list[str] = []
    logits: list[Tensor] = []
    for image, questions in asked:
        features = model.encode([image])
        for question in questions:
            answers += model.answer_features(features, [question])
            logits.append(first_logits(model, features, question))
    expected = torch.cat(logits).numpy()
    reports = {}
    for precision in precisions:
        edge = EdgeVlm(folder, precision=precision)
        given: list[str] = []
        found: list[Arrays] = []
        for image, questions in asked:
            visual = edge.encode(image)
            for question in questions:
                found.append(edge.first_logits(visual, question))
                given.append(edge.finish(found[-1], visual))
        equal = sum(one == other for one, other in zip(given, answers, strict=True))
        reports[precision] = {
            **differences(expected, np.concatenate([each["logits"] for each in found])),
            "equal_answers": equal / len(answers),
            "num_questions": len(answers),
            "num_images": len(asked),
        }
        check_limits(reports[precision], precision)
    return reports


@torch.no_grad()
def first_logits(model: VisionLanguageModel, features: Tensor, question: str) -> Tensor:
    """Returns the logits (1, V) of the first word of an answer."""
    ids = torch.tensor([prompt_ids(model.tokenizer, question)])
    visual = model.see(features)
    fused = model.fused(visual, ids, torch.ones_like(ids))
    output = model.decoder(
        fused.inputs_embeds, fused.attention_mask, prefix_length=fused.prefix_length
    )
    logits: Tensor = model.decoder.project(output.hidden_states[-1][:, -1])
    return logits.float()
