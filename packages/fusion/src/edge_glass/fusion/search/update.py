"""Bringing a picture index up to date: only new and changed pictures are encoded.

What is unusual: each worker thread encodes by itself with one torch thread, so the embeddings are
the same bits on any number of cores, and small networks keep all cores busy.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch
from PIL import Image

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.fusion.search.files import FileStamp, picture_files
from edge_glass.fusion.search.index import IndexedPicture, PictureIndex, Vector

SAVE_SECONDS = 5.0
_GPU_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What became of a picture file; without ``picture`` it could not even be read."""

    path: str
    picture: IndexedPicture | None = None
    vector: Vector | None = None
    fault: str | None = None


class IndexUpdater:
    """Updates one index of one folder of pictures.

    Attributes:
        unreadable: after ``run``, what is wrong with each picture that has no embedding, by path.
        num_encoded: after ``run``, how many pictures went through the vision encoder.
    """

    def __init__(
        self,
        index: PictureIndex,
        folder: Path,
        model: DualEncoder,
        save: Callable[[PictureIndex], None],
        *,
        save_seconds: float = SAVE_SECONDS,
        num_workers: int | None = None,
    ) -> None:
        """Prepares an update.

        Args:
            index: is changed in place.
            folder: of the pictures.
            model: its vision encoder is built where a picture needs it, and not before.
            save: writes the index, also now and then while pictures are encoded.
            save_seconds: encoding time between two savings, at most this much is lost by a kill.
            num_workers: threads, one a core where None; changes no bit.
        """
        self.index, self.folder, self.model, self.save = index, folder, model, save
        self.save_seconds = save_seconds
        self.num_workers = num_workers or _num_cores()
        self.unreadable: dict[str, str] = {}
        self.num_encoded = 0
        self._faults = {
            each.stamp.sha256: each.fault for each in index.pictures.values() if each.fault
        }
        self._building = Lock()

    def run(self, *, save_anyway: bool = False) -> None:
        """Drops what has vanished, encodes what is new or changed, and saves if anything was."""
        found = picture_files(self.folder)
        pictures = self.index.pictures
        vanished = pictures.keys() - found.keys()
        for path in vanished:
            del pictures[path]
        waiting = [
            path
            for path, status in found.items()
            if path not in pictures or not pictures[path].stamp.matches(status)
        ]
        if waiting:
            self._encode_all(waiting)
        if waiting or vanished or save_anyway:
            self.save(self.index)
        self.unreadable |= self.index.faults()

    def _encode_all(self, waiting: list[str]) -> None:
        size = 1 if self.model.logit_scale.device.type == "cpu" else _GPU_BATCH
        chunks = [waiting[start : start + size] for start in range(0, len(waiting), size)]
        with (
            one_torch_thread(),
            _progress(len(waiting)) as advance,
            ThreadPoolExecutor(self.num_workers) as pool,
        ):
            saved, cost = time.monotonic(), 0.0
            try:
                for chunk in pool.map(self._encode, chunks):
                    for each in chunk:
                        self._keep(each)
                    advance(len(chunk))
                    start = time.monotonic()
                    if start - saved >= max(self.save_seconds, 20 * cost):
                        self.save(self.index)
                        saved = time.monotonic()
                        cost = saved - start
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, KeyboardInterrupt):
                    self.save(self.index)
                raise

    def _keep(self, each: Encoded) -> None:
        if each.picture is None:  # not remembered: the next run tries again
            self.index.pictures.pop(each.path, None)
            self.unreadable[each.path] = each.fault or "can't be read"
            return
        self.index.pictures[each.path] = each.picture
        if each.vector is not None:
            self.index.vectors[each.picture.stamp.sha256] = each.vector
            self.num_encoded += 1

    def _encode(self, paths: list[str]) -> list[Encoded]:
        """Reads, hashes, decodes and encodes pictures, in a worker thread."""
        done: list[Encoded] = []
        images: list[Image.Image] = []
        encoding: list[tuple[str, FileStamp]] = []
        for path in paths:
            try:
                # The time is that before the reading: a file changed meanwhile is seen next time.
                status = (self.folder / path).stat()
                content = (self.folder / path).read_bytes()
            except OSError as error:
                done.append(Encoded(path=path, fault=f"can't be read ({error.strerror})"))
                continue
            stamp = FileStamp(
                size=status.st_size,
                mtime_ns=status.st_mtime_ns,
                sha256=hashlib.sha256(content).hexdigest(),
            )
            fault = self._faults.get(stamp.sha256)
            if fault is None and stamp.sha256 not in self.index.vectors:
                try:
                    images.append(to_rgb(decode_image(content)))
                    encoding.append((path, stamp))
                    continue
                except BadImageError as error:
                    fault = error.detail
            done.append(Encoded(path=path, picture=IndexedPicture(stamp=stamp, fault=fault)))
        if images:
            with self._building:
                self.model.add_encoders(vision=True)
            size = _GPU_BATCH if self.model.logit_scale.device.type != "cpu" else None
            vectors = self.model.encode_image(images, batch_size=size).numpy()
            for (path, stamp), vector in zip(encoding, vectors, strict=True):
                picture = IndexedPicture(stamp=stamp)
                done.append(Encoded(path=path, picture=picture, vector=vector))
        return done


def _num_cores() -> int:
    # what a container may use, where the system can tell
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Lets torch use one thread for a moment: another number may give other bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Draws a bar on a terminal, and nothing elsewhere; yields what moves it on."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("indexing", total=total)
        yield lambda count: bar.advance(task, count)
