"""Rows/s of our loader against `datasets` streaming and webdataset; the first batch after a resume.

Run:    python benchmarks/loader.py
Needs:  edge-glass-training, datasets, webdataset

The same 4,000 pictures (256 x 256, JPEG) and captions, in eight Parquet files with row groups of
100 and in eight tar files; two workers, batches of 32, shuffled among 1,000 rows. First as bytes,
five epochs, where only reading and shuffling count; then the 1,500 of three files, decoded to
224 px. Each way has a process of its own; rows/s count from its first batch on, rows per CPU second
(of the process and its workers) from the start. Then 2,000 files (hard links) with a million rows:
the index built, and a resume in the middle of an epoch.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.utils.data import DataLoader

from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.training.parquet.row_groups import open_row_groups
from edge_glass.training.stream.decoding import ImageDecoder
from edge_glass.training.stream.parquet_dataset import OrderConfig, ParquetDataset, loader

FILES, GROUPS, GROUP_ROWS = 8, 5, 100
ROWS = FILES * GROUPS * GROUP_ROWS
LINKS = 2000  # files of 500 rows: a million
WORKERS, BATCH, WINDOW = 2, 32, 1000
EPOCHS = {"bytes": 5, "decoded": 1}
FOLDERS = {"bytes": ".", "decoded": "few"}
TARGET = 1.0  # seconds to the first batch after a resume
TRANSFORM = ImageTransform(
    image_size=224, fit="crop", mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28)
)


def write_data(folder: Path) -> None:
    from edge_glass.training.parquet.schemas import IMAGE

    pictures = []
    for number in range(64):
        noise = np.random.default_rng(number).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC).save(out, "JPEG")
        pictures.append(out.getvalue())
    schema = pa.schema([("caption", pa.string()), ("image", IMAGE)])
    (folder / "parquet").mkdir()
    (folder / "tar").mkdir()
    for kind in ("parquet", "tar"):
        (folder / "few" / kind).mkdir(parents=True)
    for file in range(FILES):
        rows = range(file * GROUPS * GROUP_ROWS, (file + 1) * GROUPS * GROUP_ROWS)
        # a byte that a JPEG reader skips makes each picture its own: nothing is stored once
        images = [pictures[row % 64] + row.to_bytes(4, "big") for row in rows]
        table = pa.table(
            {
                "caption": [f"caption {row}" for row in rows],
                "image": [{"bytes": data, "path": None} for data in images],
            },
            schema,
        )
        pq.write_table(
            table,
            folder / "parquet" / f"{file:05d}.parquet",
            row_group_size=GROUP_ROWS,
            compression="none",
            use_dictionary=False,
        )
        with tarfile.open(folder / "tar" / f"{file:05d}.tar", "w") as tar:
            for row, data in zip(rows, images, strict=True):
                for kind, content in (("jpg", data), ("txt", f"caption {row}".encode())):
                    info = tarfile.TarInfo(f"{row:06d}.{kind}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        if file < 3:
            for name in (f"parquet/{file:05d}.parquet", f"tar/{file:05d}.tar"):
                os.link(folder / name, folder / "few" / name)


def pixels(data: bytes) -> torch.Tensor:
    return TRANSFORM(Image.open(io.BytesIO(data)).convert("RGB"))


def collate(rows: list[tuple[Any, str]]) -> tuple[Any, list[str]]:
    images, captions = zip(*rows, strict=True)
    stacked = torch.stack(images) if isinstance(images[0], torch.Tensor) else list(images)
    return stacked, list(captions)


def ours(folder: Path, decoded: bool, epochs: int) -> Iterator[int]:
    data = ParquetDataset(
        open_row_groups(folder / "parquet"),
        OrderConfig(seed=0, window=WINDOW, batch_size=BATCH),
        columns=["caption"] if decoded else ["caption", "image"],
        decoder=ImageDecoder(transform=TRANSFORM) if decoded else None,
    )
    for batch in loader(data.at(epoch=0, num_epochs=epochs), num_workers=WORKERS):
        yield len(batch.numbers)


def by_datasets(folder: Path, decoded: bool, epochs: int) -> Iterator[int]:
    import datasets  # type: ignore[import-untyped]

    datasets.disable_progress_bars()
    stream = datasets.load_dataset(
        "parquet", data_files=str(folder / "parquet" / "*"), split="train", streaming=True
    ).shuffle(seed=0, buffer_size=WINDOW)

    def batched(rows: list[dict[str, Any]]) -> tuple[Any, list[str]]:
        held = [row["image"]["bytes"] for row in rows]
        images = [pixels(data) for data in held] if decoded else held
        return collate([(i, row["caption"]) for i, row in zip(images, rows, strict=True)])

    for epoch in range(epochs):
        stream.set_epoch(epoch)
        made = DataLoader(stream, batch_size=BATCH, num_workers=WORKERS, collate_fn=batched)
        for _, captions in made:
            yield len(captions)


def by_webdataset(folder: Path, decoded: bool, epochs: int) -> Iterator[int]:
    import webdataset as wds  # type: ignore[import-untyped]

    def show(row: tuple[bytes, bytes]) -> tuple[Any, str]:
        return (pixels(row[0]) if decoded else row[0]), row[1].decode()

    urls = sorted(str(path) for path in (folder / "tar").glob("*.tar"))
    stream = wds.WebDataset(urls, shardshuffle=FILES, seed=0)
    stream = stream.shuffle(WINDOW).to_tuple("jpg", "txt").map(show).repeat(nepochs=epochs)
    for _, captions in DataLoader(
        stream, batch_size=BATCH, num_workers=WORKERS, collate_fn=collate
    ):
        yield len(captions)


WAYS = {"ours": ours, "datasets": by_datasets, "webdataset": by_webdataset}


def cpu_seconds() -> float:
    """Of this process and of its workers that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def measure(way: str, folder: Path, kind: str) -> None:
    torch.set_num_threads(1)
    if way != "ours":
        importlib.import_module(way)  # not what is measured
    cpu, began = cpu_seconds(), time.perf_counter()
    counts = WAYS[way](folder / FOLDERS[kind], kind == "decoded", EPOCHS[kind])
    next(counts)
    first = time.perf_counter()
    rows = sum(counts)
    seconds = time.perf_counter() - first
    del counts  # ends the workers, whose time counts then
    print(json.dumps([rows / seconds, first - began, rows, rows / (cpu_seconds() - cpu)]))


def resume(folder: Path) -> None:
    linked = folder / "linked"
    linked.mkdir()
    for number in range(LINKS):
        os.link(
            folder / "parquet" / f"{number % FILES:05d}.parquet", linked / f"{number:05d}.parquet"
        )
    began = time.perf_counter()
    index = open_row_groups(linked)
    seconds = time.perf_counter() - began
    print(f"index of {index.num_rows:,} rows in {LINKS:,} files, {len(index.rows):,} row groups:")
    print(f"  built in {seconds:.2f} s")
    data = ParquetDataset(
        index,
        OrderConfig(seed=0, window=WINDOW, batch_size=BATCH),
        columns=["caption"],
        decoder=ImageDecoder(transform=TRANSFORM),
    )
    middle = data.layout.num_steps // 2
    for workers in (0, WORKERS):
        taken, used = [], []
        for epoch in (3, 4, 5):
            began, cpu = time.perf_counter(), time.process_time()
            batches = iter(loader(data.at(epoch=epoch, step=middle), num_workers=workers))
            assert next(batches).step == middle
            taken.append(time.perf_counter() - began)
            used.append(time.process_time() - cpu)
            del batches
        print(
            f"  first batch at step {middle:,} with {workers} workers: "
            f"{statistics.median(taken):.2f} s, at most {max(taken):.2f} (target {TARGET} s); "
            f"{statistics.median(used):.2f} s of this process's CPU time"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--parts", nargs="+", choices=[*EPOCHS, "resume"], default=[*EPOCHS, "resume"]
    )
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "FOLDER", "KIND"))
    options = parser.parse_args()
    if options.measure:
        way, place, kind = options.measure
        measure(way, Path(place), kind)
        return
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        for kind in (part for part in EPOCHS if part in options.parts):
            found: dict[str, list[tuple[float, float, int, float]]] = {}
            for _ in range(options.rounds):
                for way in WAYS:
                    command = [sys.executable, __file__, "--measure", way, name, kind]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    found.setdefault(way, []).append(json.loads(done.stdout.splitlines()[-1]))
            print(f"\n{kind}, {WORKERS} workers, {found['ours'][0][2]:,} rows timed")
            middle = {
                way: [statistics.median(column) for column in zip(*each, strict=True)]
                for way, each in found.items()
            }
            for way, (rate, first, _, per_cpu) in middle.items():
                print(
                    f"  {way:11} {rate:7.0f} rows/s: ours is {middle['ours'][0] / rate:5.2f} x; "
                    f"{per_cpu:7.0f} rows per CPU second: {middle['ours'][3] / per_cpu:5.2f} x; "
                    f"first batch after {first:.2f} s"
                )
        if "resume" in options.parts:
            print()
            resume(folder)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
