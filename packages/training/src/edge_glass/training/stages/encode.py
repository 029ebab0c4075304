"""Stage `encode`: the frozen encoders run once over all images and texts.

The cache is written in shards under `artifacts/state/encode`. Each shard is a pure function of its
task, computed in this process or wherever the executor runs it. A restart skips the finished
shards, and the cache appears under `artifacts/features` when all of them exist.
"""

from __future__ import annotations

import dataclasses
import errno
import shutil
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from edge_glass.encoders.files import replace_folder, sha256_of, sync_tree, write_json
from edge_glass.training.features.cache import CLASSES, FeatureIndex
from edge_glass.training.features.encoding import (
    ShardTask,
    apply_settings,
    close_encoders,
    encode_shard,
    open_text_encoder,
)
from edge_glass.training.features.live import LiveConfig
from edge_glass.training.features.plan import ArrayPlan, ImagePlan, Planner, finished_shard
from edge_glass.training.features.shards import check_size, shard_bytes
from edge_glass.training.folders import FEATURES, PREPARED, STATE
from edge_glass.training.runtime.executor import SerialExecutor, is_serial, ordered_map
from edge_glass.training.runtime.fingerprint import fingerprint
from edge_glass.training.runtime.nothing_to_do import read_note
from edge_glass.training.runtime.progress import progress, say
from edge_glass.training.runtime.split_names import TRAIN

if TYPE_CHECKING:
    from edge_glass.training.params import Params

METRICS = Path("metrics/encode.json")


def run(params: Params, executor: Executor | None = None) -> None:
    """Runs the stage; the executor runs the shards, None for this process."""
    executor = executor or SerialExecutor()
    planner = Planner(params=params, work=open_work_folder(params), quiet=not is_serial(executor))
    text_encoder = planner.text_encoder()
    apply_settings(text_encoder)

    # plan
    sizes = {
        "captions": params.encode.caption_image_size,
        "questions": params.encode.question_image_size,
    }
    sizes = {kind: size for kind, size in sizes.items() if read_note(PREPARED / kind) is None}
    is_live = params.features == "live"
    # an image with captions and questions is encoded once, if both have the same size
    shares = len(sizes) == 2 and len(set(sizes.values())) == 1 and not is_live
    images = {
        subset: planner.images(
            subset, size, "captions" if shares and subset == "questions" else None
        )
        for subset, size in sizes.items()
    }
    for subset, plan in images.items():
        announce(subset, plan, live=is_live)
    caption_splits = images["captions"].splits if "captions" in images else []
    texts = {split: distinct_texts(split) for split in caption_splits}
    if caption_splits and (class_texts := planner.class_texts()):
        texts[CLASSES] = class_texts
    for split, distinct in texts.items():
        write_json(texts_file(planner.features, split), distinct)
    arrays = [] if is_live else [array for plan in images.values() for array in plan.arrays]
    arrays += [planner.texts(split, len(distinct)) for split, distinct in texts.items()]

    # encode what no earlier start has finished
    tasks = unfinished_tasks(arrays)
    check_room(planner.work, sum(shard_bytes(task.shape, task.dtype) for task in tasks))
    encode_shards(tasks, executor, device=params.device)

    # describe the cache, and move it to its place
    for array in arrays:
        array.write_index()
    index = FeatureIndex(
        vision_encoder=params.vision_encoder.name,
        text_encoder=params.text_encoder.name,
        vision_width=next(iter(images.values())).width,
        text_width=open_text_encoder(text_encoder).width if texts else 0,
        grids={subset: plan.grid for subset, plan in images.items()},
        image_sizes=sizes,
        splits={subset: plan.splits for subset, plan in images.items()},
        texts_sha256={split: sha256_of(texts_file(planner.features, split)) for split in texts},
    )
    write_json(planner.features / "index.json", dataclasses.asdict(index))
    if is_live:
        live_config(params).save(planner.features, params.vision_encoder)
    # the share of each split's texts, 0 to 1, that are longer than the encoder reads
    truncated = {
        split: open_text_encoder(text_encoder).share_truncated(each)
        for split, each in texts.items()
    }
    close_encoders()
    publish(planner.work)
    write_json(METRICS, {"share_of_texts_truncated": truncated})
    report(arrays, truncated)


def open_work_folder(params: Params) -> Path:
    """Returns the folder of this configuration, code and data, and removes those of others.

    Its name is a hash of what it belongs to: a worker of an older start that is still encoding
    cannot write its shard into a newer one.
    """
    folder = (STATE / "encode").resolve() / fingerprint(params, "encode")[:16]
    (folder / "features").mkdir(parents=True, exist_ok=True)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    return folder


def announce(subset: str, plan: ImagePlan, *, live: bool) -> None:
    """Prints how large the features of a sub-set's images will be, or would be."""
    tasks = [task for array in plan.arrays for task in array.tasks]
    size = sum(shard_bytes(task.shape, task.dtype) for task in tasks)
    number = sum(array.shape[0] for array in plan.arrays)
    say(
        f"encode {subset}: {number} images x {plan.grid[0]} x {plan.grid[1]} patches x "
        f"{plan.width} = {readable(size)}"
        + (", not stored: features is live" if live else f" in {len(tasks)} shards")
        + (f"; {plan.shared} more have those of captions" if plan.shared else "")
    )


def live_config(params: Params) -> LiveConfig:
    """Returns what the features of images depend on, for the stages that encode them."""
    return LiveConfig(
        device=params.device,
        num_threads=params.num_threads,
        reproducibility=params.reproducibility,
        batch_size=params.encode.batch_size,
        dtype=params.encode.dtype,
        pool=params.encode.pool,
    )


def texts_file(features: Path, split: str) -> Path:
    """Returns the file of a caption split's distinct texts."""
    return features / "captions" / split / "texts.json"


def distinct_texts(split: str) -> list[str]:
    """Returns the distinct texts of a caption split that are used, sorted.

    Training draws from all captions of an image; other splits are scored with the canonical ones.
    """
    texts: set[str] = set()
    path = PREPARED / "captions" / f"{split}.rows.parquet"
    columns = ["canonical_caption", *(("caption", "transcripts") if split == TRAIN else ())]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                texts.add(row["canonical_caption"])
                if split == TRAIN:
                    texts.update((row["caption"], *row["transcripts"]))
    return sorted(texts)


def unfinished_tasks(arrays: list[ArrayPlan]) -> list[ShardTask]:
    """Returns the tasks whose shards no earlier start has finished."""
    every = [task for array in arrays for task in array.tasks]
    tasks = [task for task in every if finished_shard(task) is None]
    if len(tasks) < len(every):
        say(
            f"encode: {len(every) - len(tasks)} of {len(every)} shards are finished already, "
            f"{len(tasks)} to do"
        )
    return tasks


def check_room(work: Path, needed: int) -> None:
    """Checks that the disk has room for the bytes of the shards that are still to be written."""
    free = shutil.disk_usage(work).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"the features take {readable(needed)}, and only {readable(free)} are free below "
            f"{work}: free some space, keep fewer tokens (encode.pool: mean, or tokens per side), "
            "or put artifacts/ on a larger disk; an existing cache in artifacts/features is "
            "replaced only at the end, and can be deleted now",
        )


def encode_shards(tasks: list[ShardTask], executor: Executor, *, device: str = "cpu") -> None:
    """Runs the tasks; in this process each shard shows its own progress bar.

    With a GPU two threads of this process take turns: one decodes the first images of a shard while
    the other encodes, and then stores, the shard before.
    """
    serial = is_serial(executor)
    in_turns = serial and device != "cpu"
    with ThreadPoolExecutor(2) if in_turns else nullcontext(executor) as chosen:
        results = ordered_map(encode_shard, tasks, chosen, in_flight=len(tasks))
        if not serial:
            results = progress(results, "encode", total=len(tasks))
        for task, entry in zip(tasks, results, strict=True):
            # a worker on a different machine may have written to a disk that is not this one
            check_size(task.path.parent, entry)


def publish(work: Path) -> None:
    """Moves the finished cache to its place and removes the folder of unfinished work."""
    sync_tree(work / "features")
    FEATURES.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(work / "features", FEATURES)
    shutil.rmtree(work.parent)


def report(arrays: list[ArrayPlan], truncated: dict[str, float]) -> None:
    """Prints what the stage has written."""
    tasks = [task for array in arrays for task in array.tasks]
    size = sum(shard_bytes(task.shape, task.dtype) for task in tasks)
    cut = ", ".join(f"{split} {share:.1%}" for split, share in truncated.items())
    more = f"; texts cut at the encoder's limit: {cut}" if cut else ""
    say(f"encode: {readable(size)} of features in {FEATURES}{more}")


def readable(size: int) -> str:
    """Returns a number of bytes in MiB or GiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
