"""Pictures/s from JPEG bytes to 336 px tensors: whole, by draft, and `datasets` + DataLoader.

Run:    python benchmarks/decoding.py
Needs:  edge-glass-training, datasets

Photos of 12, 2 and 0.3 megapixels, quality 90. Three ways that decode whole: a plain loop of PIL
(open, convert, resize, to a tensor), `datasets` streaming the Parquet file into a DataLoader with
that same function, and our loader. Then our loader with draft 2 and 1. All in this process and on
one thread, in turns; rates are per second of this process's CPU time, so that what else the machine
does counts less, and the median of the rounds counts. The difference is the mean over pixels
between draft and whole, in levels of 255.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.training.parquet.row_groups import open_row_groups
from edge_glass.training.stream.decoding import ImageDecoder
from edge_glass.training.stream.parquet_dataset import OrderConfig, ParquetDataset, loader

TARGET = 3.0  # for 12 MP, by draft, against plain PIL
SIZES = {"12 MP": (4000, 3000), "2 MP": (1600, 1200), "0.3 MP": (640, 480)}
SIDE = 336
BATCH = 4
TRANSFORM = ImageTransform(
    image_size=SIDE, fit="pad", mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28)
)


def photo(number: int, size: tuple[int, int]) -> bytes:
    """Structure at every scale, as photos have it: noise of sides 4 to 1024, finer is fainter."""
    draw = np.random.default_rng(number)
    total = np.zeros((size[1], size[0], 3), np.float32)
    for power in range(2, 11):
        noise = draw.normal(0, 60 / power, (2**power, 2**power, 3)).clip(-127, 127) + 128
        grown = Image.fromarray(noise.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
        total += np.asarray(grown, dtype=np.float32) - 128
    file = io.BytesIO()
    Image.fromarray((total + 128).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def plain(data: bytes) -> torch.Tensor:
    return TRANSFORM(Image.open(io.BytesIO(data)).convert("RGB"))


def ways(folder: Path, pictures: list[bytes]) -> dict[str, Callable[[], int]]:
    """Each way takes all pictures once and returns how many."""
    import datasets  # type: ignore[import-untyped]
    from torch.utils.data import DataLoader

    datasets.disable_progress_bars()

    def by_datasets() -> int:
        stream = datasets.load_dataset(
            "parquet", data_files=str(folder / "*.parquet"), split="train", streaming=True
        ).map(lambda row: {"pixels": plain(row["image"]["bytes"])}, remove_columns=["image"])
        return sum(len(batch["pixels"]) for batch in DataLoader(stream, batch_size=BATCH))

    def ours(draft: float | None) -> int:
        order = OrderConfig(seed=0, window=8, batch_size=BATCH)
        data = ParquetDataset(
            open_row_groups(folder),
            order,
            columns=[],
            decoder=ImageDecoder(transform=TRANSFORM, draft=draft),
        )
        return sum(len(batch.numbers) for batch in loader(data))

    return {
        "plain PIL": lambda: len([plain(data) for data in pictures]),
        "datasets + DataLoader": by_datasets,
        "ours, whole": lambda: ours(None),
        "ours, draft 2": lambda: ours(2.0),
        "ours, draft 1": lambda: ours(1.0),
    }


def difference(pictures: list[bytes], draft: float) -> float:
    decoder = ImageDecoder(transform=TRANSFORM, draft=draft)
    std = torch.tensor(TRANSFORM.std)[:, None, None] * 255
    return statistics.mean(
        float(((decoder(data) - plain(data)).abs() * std).mean()) for data in pictures[:4]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=8, help="of each size, a multiple of 4")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, size in SIZES.items():
        pictures = [photo(number, size) for number in range(options.pictures)]
        repeat = max(1, 1_000_000 // (size[0] * size[1] // 8))  # small ones: more of them a round
        pictures *= repeat
        rates: dict[str, list[float]] = {}
        with tempfile.TemporaryDirectory() as folder:
            images = [{"bytes": data, "path": None} for data in pictures]
            pq.write_table(pa.table({"image": images}), Path(folder) / "a.parquet")
            measured = ways(Path(folder), pictures)
            for _ in range(options.rounds):
                for way, run in measured.items():
                    began = time.process_time()
                    count = run()
                    rates.setdefault(way, []).append(count / (time.process_time() - began))
                    assert count == len(pictures), (way, count)
        medians = {way: statistics.median(each) for way, each in rates.items()}
        print(f"\n{name}, {size[0]} x {size[1]}, {len(pictures[0]) / 1e6:.2f} MB a file")
        for way, rate in medians.items():
            against = rate / medians["plain PIL"], rate / medians["datasets + DataLoader"]
            note = f"{against[0]:5.2f} x plain PIL {against[1]:5.2f} x datasets"
            if way.startswith("ours, draft"):
                note += f"   differs by {difference(pictures, float(way[-1])):.2f} of 255"
            print(f"  {way:22} {rate:8.1f} pictures/s  {note}")
        if name == "12 MP":
            best = medians["ours, draft 1"] / medians["plain PIL"]
            gap = medians["ours, draft 2"] / medians["plain PIL"]
            print(f"  target: {TARGET:.0f} x by draft; found {gap:.1f} (2) and {best:.1f} (1)")
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
