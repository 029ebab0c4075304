"""`prepare` on generated data: peak memory of all its processes, pictures per second, equal bytes.

    python benchmarks/prepare.py                      # 200,000 rows: ten minutes
    python benchmarks/prepare.py --rows 20000 --photos 200

Three parts: many small pictures; photos of 2 megapixels, whose bytes would fill the memory if the
stage held them; and the plan for a million images alone, without their bytes. The peer is
a bare loop that decodes each picture once with PIL and keeps nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from edge_glass.training.parquet.schemas import IMAGE
from edge_glass.training.prepare.filters import PrepareConfig
from edge_glass.training.prepare.inspection import Inspection
from edge_glass.training.prepare.plan import make_plan

LIMIT = 1.5e9
QUESTIONS = 3  # of a picture
GROUP_ROWS, GROUP_BYTES = 1000, 64 * 2**20  # as `fetch` cuts them
MEASURE = "from edge_glass.fusion.app.cli import main; main()"


def noise(size: tuple[int, int], number: int) -> bytes:
    """A JPEG as heavy as a photo: noise of four scales."""
    generator = np.random.default_rng(number)
    image = Image.new("RGB", size)
    for scale, weight in ((128, 1.0), (32, 0.5), (8, 0.4), (1, 0.12)):
        small = (max(1, size[0] // scale), max(1, size[1] // scale))
        pixels = generator.integers(0, 256, (small[1], small[0], 3), dtype=np.uint8)
        layer = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
        image = Image.blend(image, layer, weight)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    return file.getvalue()


def write_data(folder: Path, rows: int, size: tuple[int, int], filler: int) -> int:
    """Writes captions and questions, half of the rows each; returns the number of pictures.

    Each picture's bytes are its own: a number follows the end of a JPEG, where no decoder looks,
    and `filler` bytes after it, so that a picture that decodes fast can be as heavy as a photo.
    """
    bases = [noise(size, number) for number in range(64)]
    bases = [base + np.random.default_rng(len(base)).bytes(filler) for base in bases]
    half = rows // 2
    texts = {"captions": ("caption", "transcripts"), "questions": ("question", "answer")}
    for kind, names in texts.items():
        kinds = [pa.list_(pa.string()) if name == "transcripts" else pa.string() for name in names]
        fields = [("image_url", pa.string()), *zip(names, kinds, strict=True), ("image", IMAGE)]
        schema = pa.schema(fields)
        (folder / kind).mkdir(parents=True)
        with pq.ParquetWriter(
            folder / kind / "0.parquet", schema, compression="none", use_dictionary=["image.bytes"],
            dictionary_pagesize_limit=2**27,
        ) as writer:  # fmt: skip
            group = min(GROUP_ROWS, GROUP_BYTES // len(bases[0]))
            for start in range(0, half, group):
                table = []
                for row in range(start, min(start + group, half)):
                    picture = row if kind == "captions" else row // QUESTIONS
                    mark = f"{kind} {picture}".encode()
                    data = bases[picture % len(bases)] + mark
                    values = {
                        "image_url": f"https://example.org/{picture}",
                        "image": {"bytes": data, "path": None},
                        names[0]: f"what row {row} says",
                        names[1]: [f"said {row}"] if kind == "captions" else str(row),
                    }
                    table.append(values)
                writer.write_table(pa.Table.from_pylist(table, schema))
    return half + -(-half // QUESTIONS)


def tree_memory(process: int) -> int:
    """Resident bytes of a process and all below it; what they share counts in each."""
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


def peak_memory() -> int:
    """Resident bytes of this process at their highest."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) * 1024


def prepare(folder: Path, workers: int) -> tuple[float, int, str]:
    """Runs the stage as a command; returns seconds, peak bytes and a hash of what it wrote."""
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    params["datasets"][params["data"]] = {"captions": "captions", "questions": "questions"}
    params["prepare"][params["scale"]]["num_workers"] = workers
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.rmtree(folder / "artifacts", ignore_errors=True)
    began, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        [sys.executable, "-c", MEASURE, "prepare"], cwd=folder, stdout=subprocess.DEVNULL
    )
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"prepare ended with status {process.returncode}")
    seconds = time.perf_counter() - began
    digest = hashlib.sha256()
    for path in sorted((folder / "artifacts/prepared").rglob("*.parquet")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return seconds, peak, digest.hexdigest()


def bare(folder: Path) -> float:
    """Seconds of a loop that reads the files and decodes each picture once."""
    began = time.perf_counter()
    for path in sorted(folder.glob("data/*/*.parquet")):
        seen = set()
        for batch in pq.ParquetFile(path).iter_batches(batch_size=32, columns=["image"]):
            for data in batch.column("image").field("bytes").to_pylist():
                if (key := hash(data)) not in seen:
                    seen.add(key)
                    Image.open(io.BytesIO(data)).load()
    return time.perf_counter() - began


def stage_part(rows: int, size: tuple[int, int], filler: int, workers: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = write_data(folder / "data", rows, size, filler)
        stored = sum(path.stat().st_size for path in folder.glob("data/*/*.parquet"))
        print(
            f"{rows:,} rows, {pictures:,} pictures of {size[0]} x {size[1]}, {stored / 1e9:.1f} GB",
            flush=True,
        )
        plain = bare(folder)
        print(f"  bare PIL loop: {pictures / plain:7.0f} pictures/s")
        hashes = set()
        for number in workers:
            seconds, peak, digest = prepare(folder, number)
            hashes.add(digest)
            verdict = "within" if peak <= LIMIT else "ABOVE"
            print(
                f"  {number} workers: {pictures / seconds:7.0f} pictures/s, {plain / seconds:.2f} "
                f"x the bare loop; peak {peak / 1e9:.2f} GB, {verdict} {LIMIT / 1e9} GB",
                flush=True,
            )
        if len(workers) > 1:
            same = "equal" if len(hashes) == 1 else "DIFFERENT"
            print(f"  what they wrote: {same} bytes", flush=True)


def plan_part(pictures: int, texts: int, group: int = 10_000) -> None:
    """Times the plan for generated inspections, with hashes of smooth images among them."""
    generator = np.random.default_rng(0)
    results = []
    for start in range(0, pictures, group):
        size = min(group, pictures - start)
        hashes = generator.integers(0, 2**64, size, dtype=np.uint64)
        hashes[::20] &= np.uint64(0xFF0000000000000F)  # smooth: few bits are set
        hashes[::100] = 0  # plain
        image = np.repeat(np.arange(size, dtype=np.int32), texts)
        split = generator.choice([1, 2, 3], size, p=[0.7, 0.15, 0.15]).astype(np.int16)
        results.append(
            Inspection(
                num_rows=len(image),
                digests=generator.integers(0, 256, (size, 16), dtype=np.uint8),
                hashes=hashes,
                names=("", "train", "val", "test"),
                images=image,
                problems=np.zeros(len(image), dtype=np.int16),
                splits=split[image],
            )
        )
    config = PrepareConfig(
        min_side=1, max_aspect=9, max_caption_length=9, shares={"train": 1.0},
        near_duplicates="drop_across_splits",
    )  # fmt: skip
    before = peak_memory()
    began = time.perf_counter()
    plan = make_plan(results, ["questions"] * len(results), config)
    seconds = time.perf_counter() - began
    print(json.dumps([seconds, before, peak_memory(), plan.near_duplicates]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--photos", type=int, default=3_000, help="rows of the second part")
    parser.add_argument("--pictures", type=int, default=1_000_000, help="of the third part")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--plan", type=int, metavar="PICTURES", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plan:
        plan_part(options.plan, texts=5)
        return
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if options.rows:
        stage_part(options.rows, (128, 96), 25_000, options.workers)
    if options.photos:
        stage_part(options.photos, (1632, 1224), 0, options.workers)
    for number in (options.pictures // 4, options.pictures):
        command = [sys.executable, __file__, "--plan", str(number)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, before, peak, found = json.loads(done.stdout)
        print(
            f"plan for {number:,} images with 5 texts each, the near-duplicates of other "
            f"splits dropped: {seconds:.1f} s, peak {peak / 1e6:.0f} MB ({before / 1e6:.0f} MB "
            f"before); {found['pictures']:,} lookalikes left"
        )
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
