"""Stage `encode`: the frozen encoders run once over every picture and text.

Splits are encoded one by one under `artifacts/state/encode`; a restart skips those that are
whole, and the cache appears under `artifacts/features` when all are there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from edge_glass.encoders.base import TextEncoder, VisionEncoder
from edge_glass.encoders.checkpoint import write_atomic
from edge_glass.training.config import Params, fingerprint
from edge_glass.training.data.features import FeatureIndex, prepared_rows
from edge_glass.training.data.images import decode_image
from edge_glass.training.engine.determinism import make_deterministic
from edge_glass.training.engine.outputs import (
    output_folder,
    replace_folder,
    sync_tree,
    write_json,
)
from edge_glass.training.engine.processes import find_device
from edge_glass.training.engine.progress import progress, say
from edge_glass.training.folders import FEATURES, PREPARED, STATE

METRICS = Path("metrics/encode.json")


def run(params: Params) -> None:
    """Runs the stage."""
    make_deterministic(params.num_threads, params.reproducibility)
    device = find_device(params.device)
    work = _work_folder(params)
    config = params.encode
    sizes = {"captions": config.caption_image_size, "questions": config.question_image_size}
    text_encoder = params.text_encoder.config.build().to(device)
    splits: dict[str, list[str]] = {}
    grids: dict[str, tuple[int, int]] = {}
    truncated: dict[str, float] = {}
    for subset, size in sizes.items():
        encoder = params.vision_encoder.config.build(image_size=size).to(device)
        grids[subset] = encoder.grid
        paths = sorted((PREPARED / subset).glob("*.images.parquet"))
        splits[subset] = [path.name.removesuffix(".images.parquet") for path in paths]
        announce(subset, paths, encoder, config.dtype)
        for split, path in zip(splits[subset], paths, strict=True):
            folder = work / subset / split
            if not folder.exists():
                with output_folder(folder) as partial:
                    encode_images(path, encoder, config.batch_size, config.dtype, partial)
                    if subset == "captions":
                        encode_texts(split, text_encoder, partial)
            if subset == "captions":
                texts = json.loads((folder / "texts.json").read_text())
                truncated[split] = text_encoder.share_truncated(texts)
    index = FeatureIndex(
        vision_encoder=params.vision_encoder.name,
        text_encoder=params.text_encoder.name,
        vision_width=encoder.width,
        text_width=text_encoder.width,
        grids=grids,
        image_sizes=sizes,
        splits=splits,
    )
    write_json(work / "index.json", dataclasses.asdict(index))
    (work / "fingerprint").unlink()
    sync_tree(work)
    FEATURES.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(work, FEATURES)
    write_json(METRICS, {"share_of_texts_truncated": truncated})


def _work_folder(params: Params) -> Path:
    """Returns the folder of this run, emptied if it belongs to another configuration."""
    work = STATE / "encode"
    wanted = fingerprint(
        params,
        "data_name",
        "num_threads",
        "reproducibility",
        "device",
        "vision_encoder",
        "text_encoder",
        "encode",
    )
    wanted += "".join(
        # the pictures, by what prepare wrote of them
        f"\n{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}"
        for path in sorted(PREPARED.rglob("*.parquet"))
    )
    mark = work / "fingerprint"
    if not mark.is_file() or mark.read_text() != wanted:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_atomic(mark, wanted.encode())
    return work


def announce(subset: str, paths: list[Path], encoder: VisionEncoder, dtype: str) -> None:
    """Says how large the cache will be before the work starts."""
    pictures = sum(pq.read_metadata(path).num_rows for path in paths)
    values = encoder.grid[0] * encoder.grid[1] * encoder.width
    size = pictures * values * np.dtype(dtype).itemsize
    say(
        f"encode {subset}: {pictures} pictures x {encoder.grid[0]} x {encoder.grid[1]} places x "
        f"{encoder.width} = {size / 2**20:.0f} MiB"
    )


def encode_images(
    path: Path, encoder: VisionEncoder, batch_size: int, dtype: str, folder: Path
) -> None:
    """Writes vision.npy (M, P, D) for the M pictures of a prepared file."""
    file = pq.ParquetFile(path)
    shape = (file.metadata.num_rows, encoder.grid[0] * encoder.grid[1], encoder.width)
    device = next(encoder.parameters()).device
    array = np.lib.format.open_memmap(
        folder / "vision.npy", mode="w+", dtype=np.dtype(dtype), shape=shape
    )
    with (folder / "vision.npy").open("rb+") as reserved:
        # a full disk must be an error now: in a mapped file it would be a bus error later
        os.posix_fallocate(reserved.fileno(), 0, os.fstat(reserved.fileno()).st_size)
    done = 0
    batches = file.iter_batches(batch_size=batch_size, columns=["bytes"])
    total = -(-shape[0] // batch_size)
    for batch in progress(batches, f"encode {path.name}", total=total):
        images = [decode_image(data) for data in batch.column("bytes").to_pylist()]
        with torch.inference_mode():
            features = encoder(encoder.preprocess(images).to(device))
        array[done : done + len(images)] = features.cpu().numpy()
        done += len(images)
    array.flush()


def encode_texts(split: str, encoder: TextEncoder, folder: Path) -> None:
    """Writes the distinct texts of a caption split and their features (K, D)."""
    texts: dict[str, None] = {}
    for row in prepared_rows("captions", split, PREPARED):
        for text in (row["caption"], *row["transcripts"], row["canonical_caption"]):
            texts.setdefault(text)
    ordered = sorted(texts)
    write_json(folder / "texts.json", ordered)
    with torch.inference_mode():
        features = encoder.encode(ordered)
    np.save(folder / "text.npy", features.float().cpu().numpy(), allow_pickle=False)
