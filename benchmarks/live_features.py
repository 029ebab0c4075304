"""Live features against plain decoding: images/s, as ratios in one run.

Run:    python benchmarks/live_features.py [--images 256] [--workers 1]
Needs:  edge-glass-training

JPEG photos in a file as `prepare` writes it: some are drawn from row groups that together have
eight times as many, in microbatches of 16. The encoder is one small convolution, so decoding
dominates. Plain decoding is a `DataLoader` over the bytes in memory, without Parquet and without an
encoder; both ways use as many workers. With 0 workers the rates are per second of CPU time,
otherwise of wall time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from decoding import photo
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.components import Component
from edge_glass.encoders.images import decode_image, to_rgb
from edge_glass.encoders.towers.preprocessing import ImageTransform, image_transform
from edge_glass.training.engine.order import epoch_order
from edge_glass.training.features.encoding import FrozenEncoder
from edge_glass.training.features.live import LiveConfig, LiveFeatures
from edge_glass.training.features.read_ahead import read_ahead
from edge_glass.training.prepare.split_writer import SplitWriter

TARGET = 0.9
SIDE, BATCH = 336, 16
STORED = 8  # times as many as are read
SIZES = {"2 MP": (1600, 1200), "0.3 MP": (640, 480)}


class Tiny(VisionEncoder):
    """Tokens of 8 numbers for 12 x 12 patches."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.grid, self.image_size = 8, (12, 12), SIDE
        self.transform = image_transform(SIDE, "pad", (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
        self.patches = nn.Conv2d(3, 8, 28, 28)
        self.freeze()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.patches(pixels).flatten(2).transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    def build(self, image_size: int) -> Tiny:  # noqa: ARG002
        return Tiny()


class Plain(Dataset[Tensor]):
    """Batches of pixels, from bytes in memory."""

    def __init__(self, images: list[bytes], transform: ImageTransform) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, rows: list[int]) -> Tensor:
        return torch.stack([self.transform(to_rgb(decode_image(self.images[r]))) for r in rows])


def measure(folder: Path, images: list[bytes], workers: int) -> tuple[float, float]:
    """Return images/s of plain decoding and of live features, over all images in random order."""
    settings = {"device": "cpu", "num_threads": 1, "reproducibility": "native"}
    component = Component(name="tiny", config=TinyConfig())
    live = LiveFeatures(
        folder / "train.images.parquet",
        FrozenEncoder(component=component, start="", image_size=SIDE, **settings),
        LiveConfig(batch_size=BATCH, dtype="float16", pool="none", **settings),
    )
    order = epoch_order(len(images), seed=0, epoch=0)[: len(images) // STORED].tolist()
    batches = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    plain = Plain(images, live.encoder.transform)
    clock = time.perf_counter if workers else time.process_time
    times = [clock()]
    loader = DataLoader(plain, sampler=batches, batch_size=None, num_workers=workers)
    assert sum(map(len, loader)) == len(order)
    times.append(clock())
    assert sum(map(len, read_ahead([live], batches, workers))) == len(order)
    times.append(clock())
    return len(order) / (times[1] - times[0]), len(order) / (times[2] - times[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=256, help="of each size")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, size in SIZES.items():
        some = [photo(number, size) for number in range(8)]
        # different bytes: equal ones would be stored once
        images = [some[n % 8] + bytes([n % 256, n // 256]) for n in range(STORED * options.images)]
        with tempfile.TemporaryDirectory() as folder:
            writer = SplitWriter(Path(folder), "captions", "train", ())
            for number, data in enumerate(images):
                writer.add_image(str(number), data)
            writer.close()
            rates = [measure(Path(folder), images, options.workers) for _ in range(options.rounds)]
        decoded, encoded = (statistics.median(each) for each in zip(*rates, strict=True))
        ratio = statistics.median(live / plain for plain, live in rates)
        print(
            f"{name}, {len(images[0]) / 1e6:.2f} MB a file: plain decoding {decoded:.1f} images/s, "
            f"live features {encoded:.1f}, {ratio:.2f} x; target {TARGET} x"
        )
    print(f"{options.workers} workers, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
