"""The memory and the work of `encode`, `align` and `evaluate_align`, on tensors without data."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from edge_glass.encoders.components import Component
from edge_glass.training.align.validation import BATCH as EMBEDDED
from edge_glass.training.features.cache import FeatureIndex
from edge_glass.training.features.config import EncodeConfig
from edge_glass.training.plan.counting import counted
from edge_glass.training.plan.need import (
    ADAM,
    BEST,
    HELD_OUT,
    Need,
    bfloat16,
    on_gpu,
    trained_bytes,
)
from edge_glass.training.plan.networks import empty_text, empty_vision
from edge_glass.training.plan.workload import TEXTS_PER_IMAGE, Workload
from edge_glass.training.stages import align

if TYPE_CHECKING:
    from edge_glass.training.params import Params


def feature_index(params: Params) -> FeatureIndex:
    """Returns the description of the cache that `encode` will write."""
    return _feature_index(params.vision_encoder, params.text_encoder, params.encode)


@lru_cache(maxsize=4)  # building encoders takes longer than all else that a remedy tries
def _feature_index(vision: Component, text: Component, encode: EncodeConfig) -> FeatureIndex:
    sizes = {"captions": encode.caption_image_size, "questions": encode.question_image_size}
    encoders = {kind: empty_vision(vision, size, encode.pool) for kind, size in sizes.items()}
    return FeatureIndex(
        vision_encoder=vision.name,
        text_encoder=text.name,
        vision_width=encoders["captions"].width,
        text_width=empty_text(text)[1],
        grids={kind: encoder.grid for kind, encoder in encoders.items()},
        image_sizes=sizes,
        splits={},
        texts_sha256={},
    )


def encode_need(params: Params, index: FeatureIndex, work: Workload) -> Need:
    """One process of `encode`: it keeps all encoders, and runs one batch at a time."""
    config, text_options = params.encode, params.text_encoder.config
    weights, extra, flops = [], [], 0.0
    for kind, number in work.encoded(index.image_sizes).items():
        side = index.image_sizes[kind]
        encoder = empty_vision(params.vision_encoder, side, config.pool)
        with counted(encoder) as count, torch.no_grad(), bfloat16(on_gpu(params)):
            weights.append(count.now)
            pixels = torch.empty(config.batch_size, 3, side, side)
            encoder(pixels)
        # a CPU also holds the images of the batch one by one, as they were decoded
        decoded = 0 if on_gpu(params) else pixels.nbytes
        extra.append(count.peak - weights[-1] + decoded)
        flops += count.flops * number / config.batch_size
    text, _ = empty_text(params.text_encoder)
    with counted(text) as count, torch.no_grad():
        weights.append(count.now)
        ids = torch.zeros(text_options.batch_size, text_options.max_tokens, dtype=torch.long)
        text(input_ids=ids, attention_mask=torch.ones_like(ids))
    extra.append(count.peak - weights[-1])
    flops += count.flops * work.captions * TEXTS_PER_IMAGE / text_options.batch_size
    return Need(rest=sum(weights), peak=sum(weights) + max(extra), flops=flops)


def align_need(params: Params, index: FeatureIndex, work: Workload) -> Need:
    """One process of `align`: a microbatch, or all of them if their graphs are kept."""
    del work  # a batch has a fixed size
    config = params.align
    with torch.device("meta"):
        model = align.build_model(params, index).train()
    trained = trained_bytes(model)
    size, kept = config.batch_size // config.num_microbatches, 1
    if not config.gradient_cache:
        kept = config.num_microbatches
    with counted(model) as count, bfloat16(on_gpu(params)):
        weights, graphs = count.now, []
        for _ in range(kept):
            features = torch.empty(size, math.prod(index.grids["captions"]), index.vision_width)
            captions = torch.empty(size, index.text_width)
            image, text = model.image_embeddings(features), model.text_embeddings(captions)
            graphs.append(image.float().sum() + text.float().sum())
        for graph in graphs:
            torch.autograd.grad(graph, list(model.parameters()), allow_unused=True)
    passes = (4 / 3 if config.gradient_cache else 1) * config.num_microbatches / kept
    gradients = (2 + math.log2(config.num_microbatches)) * trained
    # the loss compares a microbatch with the whole batch: logits, their exponentials and gradients
    logits = 6 * 4 * size * config.batch_size * len(config.matryoshka_dims)
    if config.gradient_cache:  # the features of a batch stay on the device
        patches = config.batch_size * math.prod(index.grids["captions"])
        gradients += patches * index.vision_width * np.dtype(params.encode.dtype).itemsize
    rest = weights + (ADAM + BEST) * trained
    return Need(
        rest=rest,
        peak=int(rest + gradients + count.peak - weights + logits),
        flops=count.flops * passes * config.steps,
        trained=trained,
    )


def retrieval_need(params: Params, index: FeatureIndex, work: Workload) -> Need:
    """`evaluate_align`: a batch of images, the embeddings of a split, and a block of products."""
    with torch.device("meta"):
        model = align.build_model(params, index).eval()
    with counted(model) as count, torch.no_grad(), bfloat16(on_gpu(params)):
        weights = count.now
        features = torch.empty(EMBEDDED, math.prod(index.grids["captions"]), index.vision_width)
        model.image_embeddings(features)
    rows = int(work.captions * HELD_OUT / 2)
    # images, texts and their rounded copies, in float32
    split = 4 * rows * (index.text_width + 4 * params.align.matryoshka_dims[0])
    block = 3 * 8 * params.evaluate_align.block_size**2
    return Need(
        rest=weights, peak=count.peak + split + block, flops=count.flops / EMBEDDED * 2 * rows
    )
