"""Brings an image index up to date: only new and changed images are encoded.

Each worker thread encodes its own images with one torch thread. The embeddings are
therefore the same bits on any number of cores, and small networks keep all cores busy.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from PIL import Image

from edge_glass.encoders.file_names import read_fault
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.encoders.processors import num_cpus
from edge_glass.fusion.search.embedder import Embedder
from edge_glass.fusion.search.files import FileStamp, folder_images
from edge_glass.fusion.search.index import ImageIndex, IndexedImage, Vector
from edge_glass.fusion.sheets.contact_sheet import is_sheet

SAVE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Result for one image file.

    Attributes:
        path: in the folder.
        image: entry for the index; None if the file could not be read at all.
        vector: its embedding; None if the index has it already, or the image has a fault.
        fault: why the file could not be read.
    """

    path: str
    image: IndexedImage | None = None
    vector: Vector | None = None
    fault: str | None = None


class IndexUpdater:
    """Updates the index of a folder of images.

    Attributes:
        left_out: after `run`, why an image has no embedding, by path.
        num_encoded: after `run`, how many images went through the vision encoder.
    """

    def __init__(
        self,
        index: ImageIndex,
        folder: Path,
        model: Embedder,
        save: Callable[[ImageIndex], None],
        *,
        save_seconds: float = SAVE_SECONDS,
        num_workers: int | None = None,
    ) -> None:
        """Prepares an update, which changes the index in place.

        The model's vision encoder is built only if an image needs it. `save` writes the index, also
        after each `save_seconds` of encoding; a kill loses at most this. `num_workers` is a number
        of threads, one per core if None; it changes no bit.
        """
        self.index, self.folder, self.model, self.save = index, folder, model, save
        self.save_seconds = save_seconds
        self.num_workers = num_workers or num_cpus()
        self.left_out: dict[str, str] = {}
        self.num_encoded = 0
        self._faults = {
            each.stamp.sha256: each.fault for each in index.images.values() if each.fault
        }
        self._building = Lock()

    def run(self, *, save_anyway: bool = False) -> None:
        """Drops deleted files, encodes new and changed ones, and saves if anything changed."""
        files = folder_images(self.folder)
        self.left_out = dict(files.left_out)
        images = self.index.images
        vanished = images.keys() - files.found.keys()
        for path in vanished:
            del images[path]
        waiting = [
            path
            for path, status in files.found.items()
            if path not in images or not images[path].stamp.matches(status)
        ]
        if waiting:
            self._encode_all(waiting)
        if waiting or vanished or save_anyway:
            self.save(self.index)
        self.left_out |= self.index.faults()

    def _encode_all(self, waiting: list[str]) -> None:
        size = self.model.batch_size
        chunks = [waiting[start : start + size] for start in range(0, len(waiting), size)]
        with (
            self.model.one_thread(),
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
        if each.image is None:  # not kept in the index: the next run tries again
            self.index.images.pop(each.path, None)
            self.left_out[each.path] = each.fault or "can't be read"
            return
        self.index.images[each.path] = each.image
        if each.vector is not None:
            self.index.vectors[each.image.stamp.sha256] = each.vector
            self.num_encoded += 1

    def _encode(self, paths: list[str]) -> list[Encoded]:
        """Reads, hashes, decodes and encodes images, in a worker thread."""
        done: list[Encoded] = []
        images: list[Image.Image] = []
        encoding: list[tuple[str, FileStamp]] = []
        for path in paths:
            try:
                # Stat before reading: if the file changes in between, the next run sees a new time.
                status = (self.folder / path).stat()
                content = (self.folder / path).read_bytes()
            except OSError as error:
                done.append(Encoded(path=path, fault=read_fault(error)))
                continue
            stamp = FileStamp(
                size=status.st_size,
                mtime_ns=status.st_mtime_ns,
                sha256=hashlib.sha256(content).hexdigest(),
            )
            fault = self._faults.get(stamp.sha256)
            if fault is None and stamp.sha256 not in self.index.vectors:
                try:
                    if is_sheet(content):
                        raise BadImageError("own_sheet", "a contact sheet of edge-glass")
                    images.append(to_rgb(decode_image(content)))
                    encoding.append((path, stamp))
                    continue
                except BadImageError as error:
                    fault = error.detail
                    if error.reason == "needs_plugin":  # it may be installed by the next run
                        done.append(Encoded(path=path, fault=fault))
                        continue
            done.append(Encoded(path=path, image=IndexedImage(stamp=stamp, fault=fault)))
        if images:
            with self._building:
                self.model.prepare_images()
            vectors = self.model.embed_images(images)
            for (path, stamp), vector in zip(encoding, vectors, strict=True):
                done.append(Encoded(path=path, image=IndexedImage(stamp=stamp), vector=vector))
        return done


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Shows a progress bar if stderr is a terminal; yields a function that advances it.

    An installation of `edge-requirements.txt` lacks rich, and then shows none.
    """
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda _count: None
        return
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
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("indexing", total=total)
        yield lambda count: bar.advance(task, count)
