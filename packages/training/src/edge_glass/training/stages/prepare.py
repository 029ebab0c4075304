"""Stage `prepare`: PixMo files in; clean, split, deduplicated Parquet out, with a count of drops.

Per kind and split two files: `SPLIT.images.parquet` (each picture once) and `SPLIT.rows.parquet`
(its captions or questions, with `image`, the picture's row number). Row groups are looked at one
by one, by as many processes as there are; then it is decided what is kept; then the row groups are
read again in order and written. In memory are a few bytes a picture, and few pictures at a time.
"""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_glass.encoders.files import DataError, output_folder, write_json
from edge_glass.training.folders import PREPARED
from edge_glass.training.prepare.decisions import Decision, decide
from edge_glass.training.prepare.inspection import Partition, inspect, plan_partitions
from edge_glass.training.prepare.leaks import count_leaks, hash_again, image_groups
from edge_glass.training.prepare.split_writer import SplitWriter
from edge_glass.training.prepare.splits import image_id
from edge_glass.training.prepare.texts import SCHEMAS
from edge_glass.training.runtime.executor import open_executor, ordered_map
from edge_glass.training.runtime.progress import progress, say

if TYPE_CHECKING:
    from edge_glass.training.params import Params

METRICS = Path("metrics/prepare.json")


def run(params: Params, executor: Executor | None = None) -> None:
    """Runs the stage.

    Args:
        params: the configuration.
        executor: where row groups are looked at; None takes `prepare.num_workers` processes of this
            machine. The bytes that come out are the same.

    Raises:
        DataError: where a file can't be read, a column is missing, or a split ends up empty.
    """
    # on a cluster other processes have other working folders
    project = Path() if executor is None else Path.cwd()
    partitions = plan(params, project)
    with ExitStack() as stack:
        if executor is None:
            number = params.prepare.num_workers
            own = f"processes:{number}" if number > 1 else None
            executor = stack.enter_context(open_executor(own))
        looks = ordered_map(inspect, partitions, executor)
        findings = list(progress(looks, "prepare: look", total=len(partitions)))
        decisions = decide(findings, [each.kind for each in partitions], params.prepare)
        del findings
        for kind, report in decisions.reports.items():
            _announce(params, kind, report)
        with output_folder(PREPARED) as work:
            write(partitions, decisions.of_groups, work)
            written = image_groups(project / work)
            again = ordered_map(hash_again, [group for _, group in written], executor)
            leaks = count_leaks(
                [split for split, _ in written],
                progress(again, "prepare: check", total=len(written)),
            )
            if leaks:
                raise DataError(
                    f"{leaks} pictures were written to two splits, which must not happen: please "
                    "report it with the data set's name and params.yaml"
                )
    say(f"prepare: {leaks} pictures in two splits; near-duplicates: {decisions.near_duplicates}")
    found = {"leaks": leaks, "near_duplicates": decisions.near_duplicates}
    write_json(METRICS, {**decisions.reports, **found})


def plan(params: Params, project: Path = Path()) -> list[Partition]:
    """Returns the row groups of all inputs, captions first.

    Args:
        params: the configuration.
        project: folder that the data folder is seen from.

    Raises:
        DataError: where a file is missing, torn or of no known sub-set.
    """
    partitions: list[Partition] = []
    for kind in SCHEMAS:
        named = getattr(params.data, kind)
        names = [named] if isinstance(named, str) else named
        sources = [project / params.data_folder / name for name in names]
        partitions += plan_partitions(kind, sources, seed=params.seed, config=params.prepare)
    return partitions


def write(partitions: list[Partition], decisions: list[Decision], work: Path) -> None:
    """Reads the row groups again in order, and writes what is kept.

    Raises:
        DataError: where a picture has changed meanwhile.
    """
    writers: dict[tuple[str, str], SplitWriter] = {}
    pairs = zip(partitions, decisions, strict=True)
    for partition, decision in progress(pairs, "prepare: write", total=len(partitions)):
        if (decision.images < 0).all():
            continue
        text = -1
        for data, _, texts in partition.rows(pictures=bool(decision.fresh.any())):
            for each in texts:
                text += 1
                image = int(decision.images[text])
                if image < 0:
                    continue
                place = partition.kind, decision.names[decision.splits[text]]
                if place not in writers:
                    writers[place] = SplitWriter(work / place[0], *place)
                writer = writers[place]
                identity = decision.digests[decision.pictures[text]].tobytes().hex()
                if decision.fresh[text]:
                    if image_id(data) != identity or image != writer.num_images:
                        raise DataError(
                            f"{partition.group.path(0)} was changed while the stage read it: leave "
                            "the data alone, and run the stage again"
                        )
                    writer.add_image(identity, data)
                columns: dict[str, Any] = {"image": image, **each.columns}
                if columns.get("group", "") is None:
                    columns["group"] = identity
                writer.add_row(columns)
    for writer in writers.values():
        writer.close()


def _announce(params: Params, kind: str, report: dict[str, Any]) -> None:
    read, kept, dropped = report["rows_read"], report["rows_kept"], report["dropped"]
    if not kept.get("train"):
        sources = f"{params.data_folder}/{getattr(params.data, kind)}"
        raise DataError(
            f"{sources}: no row of split 'train' is left of {read} rows; dropped: {dropped}. "
            "Check the files, or the limits under `prepare` in params.yaml"
        )
    say(f"prepare {kind}: read {read}, kept {sum(kept.values())}, dropped {dropped}")
