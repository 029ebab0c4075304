"""One import from the source to the finished folder.

While it runs, everything is in a hidden folder beside the output. A run that was stopped anywhere
goes on from there; the output appears in one rename, when it is complete.

    OUT/captions/00000-of-00010.parquet   and questions/, as far as the source has them
    OUT/report/import.json                counts
    OUT/report/report.txt                 the same, to read
    OUT/report/drops.jsonl                what was left out: file, line, reason, detail
    OUT/report/samples.png                images as the vision encoder gets them
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from edge_glass.encoders.files import DataError, replace_folder, sync_tree
from edge_glass.training.ingest.detection import READERS, find_format
from edge_glass.training.ingest.image_reader import ImageReader
from edge_glass.training.ingest.project import View
from edge_glass.training.ingest.reading.records import Drop, Record
from edge_glass.training.ingest.reading.source import Source
from edge_glass.training.ingest.report import Report, add_results, write_report
from edge_glass.training.ingest.shards import ShardTask, build_shard, is_done
from edge_glass.training.ingest.slices import Plan, plan_drops, slice_path, write_plan
from edge_glass.training.runtime.executor import open_executor, ordered_map
from edge_glass.training.runtime.lock import file_lock
from edge_glass.training.runtime.progress import progress

VERSION = 1  # of what is written; part of the plan's hash


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """How to import.

    Attributes:
        format: of `detection.READERS`; None finds it.
        rows_per_shard: records per shard.
        num_workers: processes that check images and write; the bytes are the same.
        dry_run: read, count and draw, and write no shard.
    """

    format: str | None = None
    rows_per_shard: int = 500
    num_workers: int = 1
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: if a field can't work.
        """
        if self.format is not None and self.format not in READERS:
            raise ValueError(f"--format is {self.format!r}; expected one of {', '.join(READERS)}")
        for name in ("rows_per_shard", "num_workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where an import writes."""

    out: Path
    staging: Path

    @property
    def work(self) -> Path:
        """Slices and results, which are deleted at the end."""
        return self.staging / "work"

    @property
    def tree(self) -> Path:
        """What becomes the output."""
        return self.staging / "out"


def places_of(out: Path, *, dry_run: bool) -> Places:
    """Returns the folders; a dry run writes to `OUT.dry-run`."""
    if dry_run:
        out = out.with_name(f"{out.name}.dry-run")
    return Places(out=out, staging=out.with_name(f".{out.name}.partial"))


def import_data(source: Source, out: Path, config: ImportConfig, view: View) -> Report:
    """Imports a source; goes on where an earlier run was stopped.

    Args:
        source: what to read.
        out: the folder to make.
        config: how.
        view: how the vision encoder sees images.

    Raises:
        DataError: if the source can't be used, naming file, row and column.
        OSError: if the disk is full, or a different process works on the same output.
    """
    _check_paths(source, out)
    places = places_of(out, dry_run=config.dry_run)
    _check_output(places.out)
    places.staging.mkdir(parents=True, exist_ok=True)
    with file_lock(places.staging / "lock", f"an import to {out}", "choose a different folder"):
        try:
            report = _import(source, places, config, view)
        except DataError:
            # the source is refused: nothing is kept that a later run could go on from
            shutil.rmtree(places.staging)
            raise
        shutil.rmtree(places.staging)
    return report


def _import(source: Source, places: Places, config: ImportConfig, view: View) -> Report:
    name, others = (config.format, []) if config.format else find_format(source)
    options = {"version": VERSION, "format": name, "dry_run": config.dry_run}
    found = progress(_rows(source, name), f"import: read {name}")
    plan = write_plan(found, places.work, rows_per_shard=config.rows_per_shard, options=options)
    report = Report(plan=plan, format=name, source=source.path.resolve().name)
    if others:
        report.notes.append(
            f"Also found: {', '.join(others)}; --format chooses. Only {name} was read."
        )
    if source.exclude is not None and (unused := source.exclude.unused()):
        report.notes.append(
            f"--exclude: {len(unused)} of its lines name no image, such as {unused[0]!a}"
        )
    if not plan.records:
        raise DataError(_nothing(source, name, report, plan_drops(places.work)))
    if _is_complete(places.out, plan):
        report.notes.append(f"{places.out} was complete already")
        tasks: list[ShardTask] = []
    else:
        tasks = _tasks(source, places, plan, config)
        _build(tasks, config.num_workers)
    _finish(source, places, report, view, tasks)
    return report


def _rows(source: Source, name: str) -> Iterator[Record | Drop]:
    found = chain(source.listing.drops, READERS[name](source))
    return found if source.exclude is None else source.exclude.apply(found)


def _tasks(source: Source, places: Places, plan: Plan, config: ImportConfig) -> list[ShardTask]:
    tasks = []
    for number in range(plan.slices):
        shard = f"{number:05d}-of-{plan.slices:05d}.parquet"
        kinds = () if config.dry_run else plan.kinds
        tasks.append(
            ShardTask(
                slice=slice_path(places.work, number),
                plan=plan.sha256,
                targets={kind: places.tree / kind / shard for kind in kinds},
                result=places.work / "results" / f"{number:05d}.json",
                optional=plan.optional,
                repeated=plan.repeated,
                root=source.root,
                images=source.images,
                allow_outside=source.allow_outside,
            )
        )
    return tasks


def _build(tasks: list[ShardTask], num_workers: int) -> None:
    if tasks:
        tasks[0].result.parent.mkdir(parents=True, exist_ok=True)
    todo = [task for task in tasks if not is_done(task)]
    workers = min(num_workers, len(todo))
    with open_executor(f"processes:{workers}" if workers > 1 else None) as executor:
        done = ordered_map(build_shard, todo, executor, in_flight=2 * workers + 2)
        for _ in progress(done, "import: write", total=len(tasks), start=len(tasks) - len(todo)):
            pass


def _finish(
    source: Source, places: Places, report: Report, view: View, tasks: list[ShardTask]
) -> None:
    if not tasks:
        _read_complete(report, places.out)
        return
    # it imports what draws, which the workers do without
    from edge_glass.training.ingest.samples import draw_samples

    folder = places.tree / "report"
    shutil.rmtree(folder, ignore_errors=True)
    add_results(report, [task.result for task in tasks], plan_drops(places.work), folder)
    reader = ImageReader(source.root, source.locator)
    draw_samples(report, places.work, reader, view, folder / "samples.png")
    write_report(report, folder)
    expected = {path for task in tasks for path in task.targets.values()}
    for path in sorted(places.tree.rglob("*")):
        # of a run with a different plan, or of a write that was cut off
        if path.is_file() and folder not in path.parents and path not in expected:
            path.unlink()
    if not report.images:
        raise DataError(_nothing(source, report.format, report, ()))
    sync_tree(places.tree)
    replace_folder(places.tree, places.out)


def _check_paths(source: Source, out: Path) -> None:
    if not source.path.exists():
        raise DataError(f"{source.path}: no such file or folder")
    if source.images is not None and not source.images.is_dir():
        raise DataError(f"--images is {source.images}, which is no folder")
    if source.path.resolve().is_relative_to(out.resolve()):
        raise DataError(f"{out}: the source lies in the output folder; choose a different one")


def _check_output(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and _imported(out) is None):
        raise DataError(f"{out} is there and is no import; choose a different folder")


def _imported(out: Path) -> dict[str, object] | None:
    try:
        found = json.loads((out / "report" / "import.json").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "plan" in found else None


def _is_complete(out: Path, plan: Plan) -> bool:
    found = _imported(out)
    if found is None or out.name.endswith(".dry-run"):
        return False
    if found["plan"] == plan.sha256:
        return True
    raise DataError(
        f"{out} holds an import of a different source, or with different options: delete it, or "
        "choose a different folder"
    )


def _read_complete(report: Report, out: Path) -> None:
    found = _imported(out) or {}
    rows, splits, dropped = (found.get(key) for key in ("rows_written", "splits", "dropped"))
    for counter, value in ((report.rows, rows), (report.splits, splits), (report.dropped, dropped)):
        if isinstance(value, dict):
            counter.update(value)
    report.images, report.size = int(str(found["images"])), int(str(found["bytes"]))


def _nothing(source: Source, name: str, report: Report, drops: Iterator[Drop] | tuple[()]) -> str:
    for drop in drops:
        report.add_drop(drop)
    lines = [f"{source.path}: read as {name}, and no row can be used"]
    lines += list(report.page())[3:]
    return "\n".join(lines)
