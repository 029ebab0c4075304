"""`edge-glass import` of a folder with a CSV file, against `datasets` with `save_to_disk`.

    python benchmarks/import_folder.py                 # 10,000 images: some minutes
    python benchmarks/import_folder.py --images 500

Needs: edge-glass-training, datasets (the peer)

Both read the same JPEG files and texts with two workers and write them with the images' bytes. The
import checks and hashes each image, which the peer does not; neither computes pixels. Each runs as
a command of its own, in turn, several times; its start and imports count. Peak memory is that of
all its processes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKERS = 2
TARGET = 2.0  # times as fast
IMPORT = "from edge_glass.fusion.app.cli import main; main()"
PEER = """
import sys
from datasets import load_dataset
folder, out, cache, workers = sys.argv[1:]
found = load_dataset("imagefolder", data_dir=folder, cache_dir=cache, num_proc=int(workers))
found["train"].save_to_disk(out, num_proc=int(workers))
"""


def write_images(folder: Path, number: int, width: int) -> int:
    """Writes photo-like JPEG files in 4:3 with a metadata.csv; returns their bytes."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    size = 0
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text"])
        for place in range(number):
            image = Image.new("RGB", (width, width * 3 // 4))
            for side, weight in ((8, 1.0), (40, 0.5), (160, 0.3)):
                pixels = generator.integers(0, 256, (side * 3 // 4, side, 3), dtype=np.uint8)
                layer = Image.fromarray(pixels).resize(image.size, Image.Resampling.BICUBIC)
                image = Image.blend(image, layer, weight)
            path = folder / f"{place:06d}.jpg"
            image.save(path, quality=88)
            size += path.stat().st_size
            writer.writerow([path.name, f"noise number {place}, with a comma"])
    return size


def tree_memory(process: int) -> int:
    """Returns the resident bytes of a process and all below it."""
    total, waiting = 0, [process]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            total += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def timed(command: list[str], folder: Path) -> tuple[float, float, int]:
    """Runs a command; returns its seconds, those of the CPU, and its peak memory in bytes."""
    began, peak = time.perf_counter(), 0
    before = os.times()
    log = folder / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
        while process.poll() is None:
            peak = max(peak, tree_memory(process.pid))
            time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(
            f"{command[:4]} ended with status {process.returncode}:\n{log.read_text()}"
        )
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return time.perf_counter() - began, cpu, peak


def check(ours: Path, peer: Path, number: int) -> None:
    """Fails if the two outputs do not hold the same texts and bytes."""
    import pyarrow.parquet as pq
    from datasets import Image, load_from_disk

    rows = [
        row for path in sorted(ours.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    found = load_from_disk(str(peer)).cast_column("image", Image(decode=False))
    texts = {row["caption"]: row["image"]["bytes"] for row in rows}
    if len(rows) != number or len(found) != number:
        raise RuntimeError(f"{len(rows)} and {len(found)} rows, expected {number}")
    for row in found.select(range(0, number, max(1, number // 100))):
        if texts[row["text"]] != row["image"]["bytes"]:
            raise RuntimeError(f"the bytes of {row['text']!r} differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=640, help="of an image, in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_images(folder / "source", arguments.images, arguments.width)
        print(
            f"{arguments.images} JPEG files {arguments.width} pixels wide, {size / 1e6:.0f} MB, "
            f"{WORKERS} workers"
        )
        seconds: dict[str, list[float]] = {"import": [], "datasets": []}
        cpus: dict[str, list[float]] = {"import": [], "datasets": []}
        peaks: dict[str, int] = {"import": 0, "datasets": 0}
        for _ in range(arguments.repeats):
            for each in ("ours", "peer", "cache"):
                shutil.rmtree(folder / each, ignore_errors=True)
            run = [sys.executable, "-c", IMPORT, "import", "source", "ours"]
            peer = [sys.executable, "-c", PEER, "source", "peer", "cache", str(WORKERS)]
            commands = {"import": [*run, "--workers", str(WORKERS)], "datasets": peer}
            for kind, command in commands.items():
                taken, cpu, peak = timed(command, folder)
                seconds[kind].append(taken)
                cpus[kind].append(cpu)
                peaks[kind] = max(peaks[kind], peak)
        check(folder / "ours/captions", folder / "peer", arguments.images)
    for kind in seconds:
        print(
            f"{kind:9} {statistics.median(seconds[kind]):7.2f} s "
            f"({min(seconds[kind]):.2f} to {max(seconds[kind]):.2f}), "
            f"{statistics.median(cpus[kind]):.2f} s of CPU, "
            f"peak {peaks[kind] / 2**20:.0f} MiB"
        )
    ratio = statistics.median(seconds["datasets"]) / statistics.median(seconds["import"])
    print(json.dumps({"images": arguments.images, "ratio": round(ratio, 2), "target": TARGET}))


if __name__ == "__main__":
    main()
