"""Stage `prepare`: PixMo files in; clean, split, deduplicated Parquet out, with counts of drops.

It writes two files per kind and split: `SPLIT.images.parquet` (each image once) and
`SPLIT.rows.parquet` (its captions or questions, with `image`, the row of their image); and
`drops.jsonl`, with file, row and reason of each text that is left out. Worker
processes inspect the row groups one by one; then one process plans what is kept; then the row
groups are read again in order and written. Memory holds a few bytes per image, and few images.
"""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_glass.encoders.files import DataError, output_folder, write_json
from edge_glass.training.folders import PREPARED
from edge_glass.training.prepare.drops import DROPS_FILE, drops, write_drops
from edge_glass.training.prepare.inspection import Partition, inspect, plan_partitions
from edge_glass.training.prepare.leaks import count_leaks, hash_again, image_groups
from edge_glass.training.prepare.plan import GroupPlan, make_plan
from edge_glass.training.prepare.split_writer import GROUP_BYTES, GROUP_ROWS, SplitWriter
from edge_glass.training.prepare.splits import image_id
from edge_glass.training.prepare.texts import SCHEMAS
from edge_glass.training.runtime.executor import open_executor, ordered_map
from edge_glass.training.runtime.nothing_to_do import write_note
from edge_glass.training.runtime.progress import progress, say
from edge_glass.training.runtime.split_names import (
    TRAIN,
    held_out_splits,
    is_validation,
    validation_splits,
)

if TYPE_CHECKING:
    from edge_glass.training.params import Params

METRICS = Path("metrics/prepare.json")
MISSING = (
    ". A missing_image has no bytes in the file: `edge-glass import` reads images from paths, "
    "`edge-glass fetch` from links"
)


def run(params: Params, executor: Executor | None = None) -> None:
    """Runs the stage.

    The executor inspects the row groups; None uses `prepare.num_workers` processes of this machine.
    The written bytes are the same.
    """
    # the workers of a cluster have different working folders, so they need absolute paths
    project = Path() if executor is None else Path.cwd()
    partitions = list_partitions(params, project)
    with ExitStack() as stack:
        if executor is None:
            number = params.prepare.num_workers
            scheduler = f"processes:{number}" if number > 1 else None
            executor = stack.enter_context(open_executor(scheduler))
        inspections = ordered_map(inspect, partitions, executor)
        results = list(progress(inspections, "prepare: inspect", total=len(partitions)))
        plan = make_plan(results, [partition.kind for partition in partitions], params.prepare)
        del results
        folder = project / params.data_folder
        for kind, report in plan.reports.items():
            dropped = (
                each for each in drops(partitions, plan.groups, folder) if each["kind"] == kind
            )
            _print_report(params, kind, report, next(dropped, None))
        with output_folder(PREPARED) as work:
            write(partitions, plan.groups, work)
            write_drops(work / DROPS_FILE, partitions, plan.groups, folder)
            write_absent(params, work)
            written = image_groups(project / work)
            digests = ordered_map(hash_again, [group for _, group in written], executor)
            leaks = count_leaks(
                [split for split, _ in written],
                progress(digests, "prepare: check", total=len(written)),
            )
            if leaks:
                raise DataError(
                    f"{leaks} images were written to two splits, which is a bug: please report it "
                    "with the name of the data set and params.yaml"
                )
    say(f"prepare: {leaks} images in two splits; near-duplicates: {plan.near_duplicates}")
    write_json(METRICS, {**plan.reports, "leaks": leaks, "near_duplicates": plan.near_duplicates})


def list_partitions(params: Params, project: Path = Path()) -> list[Partition]:
    """Returns the row groups of all inputs, captions first; `project` contains the data folder."""
    partitions: list[Partition] = []
    for kind in SCHEMAS:
        sources = [project / params.data_folder / name for name in params.data.sources(kind)]
        partitions += plan_partitions(kind, sources, seed=params.seed, config=params.prepare)
    return partitions


def write(
    partitions: list[Partition],
    plans: list[GroupPlan],
    work: Path,
    *,
    group_rows: int = GROUP_ROWS,
    group_bytes: int = GROUP_BYTES,
) -> None:
    """Reads the row groups again in order, and writes what is kept."""
    writers: dict[tuple[str, str], SplitWriter] = {}
    pairs = zip(partitions, plans, strict=True)
    for partition, plan in progress(pairs, "prepare: write", total=len(partitions)):
        if (plan.image_rows < 0).all():
            continue
        text = -1
        for data, _, row_texts in partition.rows(images=bool(plan.first.any())):
            for row_text in row_texts:
                text += 1
                image = int(plan.image_rows[text])
                if image < 0:
                    continue
                key = partition.kind, plan.names[plan.splits[text]]
                if key not in writers:
                    writers[key] = SplitWriter(
                        work / partition.kind,
                        *key,
                        plan.found,
                        group_rows=group_rows,
                        group_bytes=group_bytes,
                    )
                writer = writers[key]
                identity = plan.digests[plan.images[text]].tobytes().hex()
                if plan.first[text]:
                    if image_id(data) != identity or image != writer.num_images:
                        raise DataError(
                            f"{partition.group.path(0)} was changed while the stage read it: do "
                            "not change the data, and run the stage again"
                        )
                    writer.add_image(identity, data)
                columns: dict[str, Any] = {"image": image, **row_text.columns}
                if columns.get("group", "") is None:
                    columns["group"] = identity
                writer.add_row(columns)
    for writer in writers.values():
        writer.close()


def write_absent(params: Params, work: Path) -> None:
    """Writes a note in place of a sub-set that the data set does not have."""
    for kind in SCHEMAS:
        if not params.data.sources(kind):
            write_note(work / kind, f"the data set has no {kind}")
            say(f"prepare {kind}: nothing to do: data set {params.data_name} has none")


def _print_report(
    params: Params, kind: str, report: dict[str, Any], drop: dict[str, str | int] | None
) -> None:
    read, kept, dropped = report["rows_read"], report["rows_kept"], report["dropped"]
    if not kept.get("train"):
        names = (f"{params.data_folder}/{name}" for name in params.data.sources(kind))
        sources = ", ".join(names)
        splits = ", ".join(f"{name} {number}" for name, number in kept.items()) or "no split"
        reasons = ", ".join(f"{number} {name}" for name, number in dropped.items()) or "none"
        if drop is not None:
            reasons += f" (the first: {drop['file']}, row {drop['row']}: {drop['reason']})"
        raise DataError(
            f"{sources}: of {read} rows, split train received none; kept: {splits}; dropped: "
            f"{reasons}. Give more rows, name a split train in the column split, or check "
            f"prepare.{params.scale} in params.yaml: its limits, and its shares if the files name "
            f"no split{MISSING if dropped.get('missing_image') else ''}"
        )
    say(f"prepare {kind}: read {read}, kept {sum(kept.values())}, dropped {dropped}")
    if dropped:
        say(f"prepare {kind}: each dropped row is listed in {PREPARED / DROPS_FILE}")
    say(f"prepare {kind}: {_roles(kept)}")
    if shared := report.get("captions_of_several_images"):
        say(
            f"prepare {kind}: {shared} captions belong to several images, which count as one group "
            "in the loss and in the scores"
        )


def _roles(kept: dict[str, int]) -> str:
    """Returns what each split is for, with its rows."""
    scored = [name for name in held_out_splits(kept) if not is_validation(name)]
    parts = {"trains": [TRAIN], "validates": validation_splits(kept), "only scored": scored}
    if len(kept) == 1:
        return f"only the split {TRAIN}, so nothing is held out to score"
    return "; ".join(
        f"{what}: {', '.join(f'{name} {kept[name]}' for name in names) or 'none'}"
        for what, names in parts.items()
    )
