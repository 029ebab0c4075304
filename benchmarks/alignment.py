"""Ten epochs of alignment, images to weights: features from a cache against encoding each step.

Run:    python benchmarks/alignment.py        (in the project's folder, after `dvc repro prepare`)
Needs:  edge-glass-training, edge-glass-encoders[sample]

Both train the same heads on the same images in the same order with the step of stage `align`. Ours
encodes each image once and then works from memory; the time for encoding is included. The peer runs
the locked tower in every step, as training with `--lock-image` in open_clip does. Two towers at 224
pixels: the shape of CLIP ViT-B/32 with random weights, whose products take the same time, and the
sample's EfficientNet-Lite0, which is ten times smaller.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor

from edge_glass.encoders.attention_pooling import AttentionPoolingConfig
from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.matryoshka import MatryoshkaProjection
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
from edge_glass.encoders.towers.transformers_vision import (
    ClipVisionConfig,
    TransformersVisionEncoder,
)
from edge_glass.training.align.augmentation import AugmentationConfig
from edge_glass.training.align.gradient_cache import GradientCache
from edge_glass.training.align.image_features import AugmentedFeatures
from edge_glass.training.align.matryoshka import MatryoshkaTerms
from edge_glass.training.engine.determinism import reseed
from edge_glass.training.engine.order import step_batch
from edge_glass.training.engine.processes import Processes

PICTURES = Path("artifacts/prepared/captions/train.images.parquet")
DIMS = (512, 256, 128, 64, 32, 16)
EPOCHS, BATCH, TEXT_WIDTH = 10, 64, 384
TOWERS = ("clip_vit_b32", "efficientnet_lite0")
TARGET = 8.0


def build_tower(name: str) -> VisionEncoder:
    """Build a frozen tower at 224 pixels."""
    if name == "efficientnet_lite0":
        return EfficientNetLite0Config(layers=("head",), pad_color="white").build(224)
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    # the defaults of transformers are the shape of openai/clip-vit-base-patch32
    model = CLIPVisionModel(CLIPVisionConfig()).eval()
    return TransformersVisionEncoder(
        ClipVisionConfig(model=name, revision=None, image_size=224), model
    )


def run(encoder: VisionEncoder, count: int, *, cached: bool) -> tuple[float, float]:
    """Train once; return (seconds, last loss)."""
    start = time.perf_counter()
    images = AugmentedFeatures(PICTURES, encoder, AugmentationConfig(), dtype="float16", seed=0)
    reseed("benchmark")
    texts = torch.randn(count, TEXT_WIDTH)
    pooling = AttentionPoolingConfig(num_queries=1, width=None, key_dim=64, num_heads=4).build(
        encoder.width, encoder.grid
    )
    image_head = MatryoshkaProjection(encoder.width, DIMS)
    text_head = MatryoshkaProjection(TEXT_WIDTH, DIMS)
    scale = torch.nn.Parameter(torch.tensor(2.659))
    modules = (pooling, image_head, text_head)
    parameters = [scale, *(p for module in modules for p in module.parameters())]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    terms = MatryoshkaTerms(DIMS, [1.0] * len(DIMS)).at(0)
    cache = GradientCache(
        parameters,
        scale,
        batch_size=BATCH,
        num_microbatches=1,
        recompute=False,
        processes=Processes(),
    )
    keep = torch.ones(BATCH, dtype=torch.bool)
    features: Tensor | None = None
    if cached:
        rows = torch.arange(count)
        features = torch.cat([images.at(part, step=0) for part in rows.split(BATCH)])
    for step in range(EPOCHS * (count // BATCH)):
        batch = step_batch(count, BATCH, seed=0, step=step)
        seen = images.at(batch, step=step) if features is None else features[batch]

        def embed(
            _: int, part: slice, seen: Tensor = seen, batch: Tensor = batch
        ) -> tuple[Tensor, Tensor]:
            return image_head(pooling(seen[part]).mean(dim=1)), text_head(texts[batch[part]])

        loss = cache.step(embed, terms, batch, keep).loss
        optimizer.step()
    return time.perf_counter() - start, loss.item()


def main() -> None:
    """Let both take turns and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--towers", nargs="+", choices=TOWERS, default=TOWERS)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if not PICTURES.is_file():
        raise SystemExit(f"{PICTURES} is not there: run `dvc repro prepare` first")
    available = pq.read_metadata(PICTURES).num_rows
    count = min(arguments.pictures, available)
    for tower in arguments.towers:
        encoder = build_tower(tower)
        times: dict[bool, list[float]] = {True: [], False: []}
        losses = {}
        for _ in range(arguments.repeats):
            for cached in (True, False):
                seconds, losses[cached] = run(encoder, count, cached=cached)
                times[cached].append(seconds)
        # the same numbers, but for the batches that pictures are encoded in
        assert abs(losses[True] - losses[False]) < 1e-2 * losses[True], losses
        ours, peer = statistics.median(times[True]), statistics.median(times[False])
        print(
            f"{tower}, {count} pictures, {EPOCHS} epochs: from the cache {ours:.1f} s, encoding "
            f"each step {peer:.1f} s: {peer / ours:.2f}x (target {TARGET:g}x)",
            flush=True,
        )


if __name__ == "__main__":
    main()
