"""The memory and the work of `vlm_qa` and `evaluate_vlm_qa`, by the real model without data.

Added to what is counted, because it is not part of a forward and a backward pass:

- `launch: tree` keeps log2(microbatches) partial sums of gradients (`engine/reduce.py`), and needs
  two more copies to add the next; DDP keeps one;
- a 4-bit weight is 0.516 bytes: 4 bits, and 0.127 bits for its scales after double quantisation
  (Dettmers et al. 2023, arXiv:2305.14314, section 3), an 8-bit one 1 byte. Each layer is
  dequantised when it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edge_glass.decoders.base import Decoder
from edge_glass.decoders.quantization import VOCABULARY
from edge_glass.encoders.components import Component
from edge_glass.fusion.compute import compute_dtype
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig
from edge_glass.fusion.word_matches import AlignedSpace, WordMatches
from edge_glass.training.features.cache import FeatureIndex
from edge_glass.training.plan.counting import counted
from edge_glass.training.plan.need import (
    ADAM,
    BEST,
    HELD_OUT,
    Need,
    bfloat16,
    device_of,
    on_gpu,
    trained_bytes,
)
from edge_glass.training.plan.networks import EmptyDecoder, Vocabulary, empty_text
from edge_glass.training.plan.workload import Workload
from edge_glass.training.vlm_qa.answer_loss import AnswerLoss
from edge_glass.training.vlm_qa.model import model_config
from edge_glass.training.vlm_qa.packing import Padding
from edge_glass.training.vlm_qa.reports import visual_length

if TYPE_CHECKING:
    from edge_glass.training.params import Params

QUANTIZED = {"4bit": 0.5 + 0.127 / 8, "8bit": 1.0}  # bytes per weight
LEARNED = 0.5  # share of a row's text that is answers; an assumption
NAMES = 1000  # words that answers use as names; an assumption
QUESTION = 64  # tokens of a question in evaluation; an assumption


def training_need(params: Params, index: FeatureIndex, work: Workload) -> Need:
    """One process of `vlm_qa`: the longest microbatch, or a validation batch if that is more."""
    config = params.vlm_qa
    need = _by_layers(params, lambda layers: _training(params, index, work, layers))
    if not config.validation_steps:
        return need
    batch = config.answers_at_once
    answers = _by_layers(params, lambda layers: _answering(params, index, work, layers, batch))
    kept = answers.peak + need.rest - answers.rest
    return need if kept <= need.peak else replace(need, peak=kept, at="validation")


def evaluation_need(params: Params, index: FeatureIndex, work: Workload) -> Need:
    """One process of `evaluate_vlm_qa`: a batch of questions with the longest answers."""
    batch = params.evaluate_vlm_qa.batch_size
    need = _by_layers(params, lambda layers: _answering(params, index, work, layers, batch))
    # held-out questions are answered with their own and with a different image
    return replace(need, flops=need.flops * work.asked * HELD_OUT * 2)


def _by_layers(params: Params, need_of: Callable[[int | None], Need]) -> Need:
    """Returns the need of a decoder of many equal layers from those of two and of three.

    Each further layer adds the same weights, activations and work, so that this is exact, but for
    the peak, which may then be at another place. If each n-th layer is checkpointed, n layers count
    as one.
    """
    layers = EmptyDecoder(config=params.decoder.config).own_layers()
    every = int(getattr(params.decoder.config, "gradient_checkpointing", 1)) or 1
    if layers is None or layers <= 3 * every:
        return need_of(None)
    few, more = need_of(2 * every), need_of(3 * every)
    times = (layers - 3 * every) / every

    def extended(last: float, first: float) -> int:
        return round(last + times * (last - first))

    return Need(
        rest=extended(more.rest, few.rest),
        peak=extended(more.peak, few.peak),
        flops=extended(more.flops, few.flops),
        trained=extended(more.trained, few.trained),
        at=more.at,
    )


def _training(params: Params, index: FeatureIndex, work: Workload, layers: int | None) -> Need:
    config = params.vlm_qa
    size, tokens = config.batch_size // config.num_microbatches, work.tokens
    model = answers_model(params, index, work, layers).train()
    objective = AnswerLoss(
        model, label_smoothing=config.label_smoothing, naming_weight=config.naming.weight
    )
    trained = trained_bytes(model)
    with counted(objective, found=max(1, int(size * tokens * LEARNED))) as count:
        weights = count.now
        patches = math.prod(index.grids["questions"])
        prefix = visual_length(model, patches, index.vision_width)
        padding = Padding.on(device_of(params), prefix, model.decoder.max_positions)
        length = padding.length(tokens)
        ids = torch.zeros(size, length, dtype=torch.long)
        features = torch.empty(size, patches, index.vision_width)
        loss = objective(features, ids, torch.zeros_like(ids), torch.zeros_like(ids))
        loss.backward()
    smaller, layer = _quantized(params, model)
    rest = weights - smaller + (ADAM + BEST + bool(config.ema_decay)) * trained
    rest += _text_encoder(params)
    # the last backward pass runs beside the sums so far; one gradient is part of the pass itself
    sums = math.log2(config.num_microbatches) if params.launch.name == "tree" else 1
    backward = sums * trained + count.peak - weights + layer
    return Need(
        rest=rest,
        peak=int(rest + max(backward, (2 + sums) * trained)),
        flops=count.flops * config.num_microbatches * config.steps * _typical(index, tokens)
        + _naming_flops(model, params, patches),
        trained=trained,
        at="training",
    )


def _answering(
    params: Params, index: FeatureIndex, work: Workload, layers: int | None, batch: int
) -> Need:
    """A batch of questions with answers of full length; flops are those of one question."""
    model = answers_model(params, index, work, layers).eval()
    length = min(QUESTION, work.tokens) + params.vlm_qa.max_new_tokens
    with counted(model) as count, torch.no_grad(), model.autocast():
        weights = count.now
        features = torch.empty(batch, math.prod(index.grids["questions"]), index.vision_width)
        ids = torch.zeros(batch, length, dtype=torch.long)
        fused = model.fused(model.see(features), ids, torch.ones_like(ids))
        positions = torch.arange(fused.inputs_embeds.shape[1]).expand(batch, -1)
        output = model.decoder(
            fused.inputs_embeds,
            fused.attention_mask,
            position_ids=positions,
            use_cache=True,
            prefix_length=fused.prefix_length,
        )
        model.decoder.project(output.hidden_states[-1][:, -1])
    smaller, layer = _quantized(params, model)
    return Need(
        rest=weights - smaller, peak=count.peak - smaller + layer, flops=count.flops / batch
    )


def answers_model(
    params: Params, index: FeatureIndex, work: Workload, layers: int | None
) -> VisionLanguageModel:
    """Returns the model of `vlm_qa` on the meta device, in the precision of the chosen device."""
    empty = EmptyDecoder(config=params.decoder.config, num_layers=layers)
    chosen = replace(params, decoder=Component(name=params.decoder.name, config=empty))
    tokenizer: Any = Vocabulary(size=work.vocabulary)
    config = model_config(chosen, index, conversations=False, space=_aligned_space(params))
    # the scale of the real one's weights depends on numbers, which a plan does not have
    object.__setattr__(config, "build_matches", partial(_matches, config))
    with torch.device("meta"):
        model = VisionLanguageModel(config, tokenizer)
    in_bf16 = compute_dtype(device_of(params), model.decoder.dtype) == torch.bfloat16
    # tensors without data are those of a CPU, whatever the plan is for
    object.__setattr__(model, "autocast", lambda: bfloat16(in_bf16))
    return model


def _naming_flops(model: VisionLanguageModel, params: Params, patches: int) -> int:
    """Returns the work of the steps in which the image head learns alone, 6 per weight and patch.

    As in Kaplan et al. 2020, arXiv:2001.08361, section 2.1.
    """
    head, naming = model.visual_tokens.aligned, params.vlm_qa.naming
    if head is None or not naming.weight:
        return 0
    weights = sum(each.numel() for each in head.parameters())
    # each process takes all of these steps, and a need is that of all processes together
    processes = params.launch.config.num_processes if on_gpu(params) else 1
    return 6 * weights * patches * naming.batch_size * naming.steps * processes


def _text_encoder(params: Params) -> int:
    """Returns the bytes of the text encoder, which is loaded once for the vectors of words.

    On a CPU its weights count twice, in memory and in the pages of their file: the process keeps
    both. A GPU does not hold them.
    """
    if not params.vlm_qa.visual_tokens.aligned_dim or on_gpu(params):
        return 0
    text, _ = empty_text(params.text_encoder)
    return 2 * sum(each.numel() * each.element_size() for each in text.parameters())


def _aligned_space(params: Params) -> AlignedSpace | None:
    """Returns the space that `align` will train, None if words are not matched."""
    config, head = params.vlm_qa, params.align.head
    if not config.visual_tokens.aligned_dim:
        return None
    return AlignedSpace(
        dim=config.visual_tokens.aligned_dim,
        projection=head.projection,
        hidden_width=head.hidden_width or params.align.matryoshka_dims[0],
        word_dropout=config.word_dropout,
        num_names=NAMES if config.naming.weight else 0,
    )


def _matches(config: VlmConfig, tokenizer: Vocabulary, decoder: Decoder) -> WordMatches | None:
    """Returns the word matches of a decoder; its words are as many as its embeddings."""
    if config.aligned_space is None:
        return None
    words = [each for each in decoder.modules() if isinstance(each, nn.Embedding)]
    return WordMatches(
        config.aligned_space,
        vocab_size=max((each.num_embeddings for each in words), default=tokenizer.size),
        unknown_id=tokenizer.pad_token_id,
        patches=math.prod(config.grid),
        width=decoder.width,
        size=1.0,
    )


def _quantized(params: Params, model: VisionLanguageModel) -> tuple[int, int]:
    """Returns the bytes that quantisation saves, and those of the largest layer dequantised."""
    kind = getattr(params.decoder.config, "quantization", "none")
    if kind == "none":
        return 0, 0
    layers = [
        part.weight
        for name, part in model.decoder.named_modules()
        if isinstance(part, nn.Linear)
        and not part.weight.requires_grad
        and name.rpartition(".")[2] not in VOCABULARY
    ]
    bytes_now = sum(each.numel() * each.element_size() for each in layers)
    count = sum(each.numel() for each in layers)
    return int(bytes_now - count * QUANTIZED[kind]), 2 * max(each.numel() for each in layers)


def _typical(index: FeatureIndex, tokens: int) -> float:
    """Returns the length of a usual row as a share of the longest: with half of its text."""
    patches = math.prod(index.grids["questions"])
    return (patches + tokens / 2) / (patches + tokens)
