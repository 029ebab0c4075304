"""The rows that `prepare` leaves out: file, row and reason of each, as JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edge_glass.encoders.file_names import shown
from edge_glass.training.prepare.inspection import Partition
from edge_glass.training.prepare.plan import GroupPlan

DROPS_FILE = "drops.jsonl"


def drops(
    partitions: Sequence[Partition], plans: Sequence[GroupPlan], folder: Path
) -> Iterator[dict[str, str | int]]:
    """Yields each text that is dropped; files are relative to `folder`, rows count from 0."""
    for partition, plan in zip(partitions, plans, strict=True):
        file = shown(os.path.relpath(partition.group.path(0), folder))
        first = int(partition.group.first[0])
        for text in np.flatnonzero(plan.problems).tolist():
            yield {
                "kind": partition.kind,
                "file": file,
                "row": first + int(plan.rows[text]),
                "reason": plan.names[plan.problems[text]],
            }


def write_drops(
    path: Path, partitions: Sequence[Partition], plans: Sequence[GroupPlan], folder: Path
) -> None:
    """Writes the list; the file is empty if nothing is dropped."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for each in drops(partitions, plans, folder):
            file.write(json.dumps(each, ensure_ascii=False) + "\n")
