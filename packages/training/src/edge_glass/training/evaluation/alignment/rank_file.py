"""The ranks of all queries of a split as CSV, for `edge-glass compare-scores`.

One row per query: the way ("i2t" or "t2i"), the query's number in the split, its group, and its
rank at each dim, the largest dim first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_glass.encoders.files import write_atomic

Ranks = Mapping[int, Mapping[str, NDArray[np.int64]]]  # dim -> way -> (Q,) ranks, from 1


def write_ranks(
    path: Path,
    ranks: Ranks,
    groups: Mapping[str, NDArray[np.integer]],
    names: Sequence[str],
) -> None:
    """Writes the ranks of a split.

    Args:
        path: of the file.
        ranks: of each query, by dim and way.
        groups: (Q,) the number of each query's group, by way.
        names: of the groups, by number.
    """
    dims = sorted(ranks, reverse=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["way", "query", "group", *dims])
    for way, of_query in groups.items():
        table = np.stack([ranks[dim][way] for dim in dims], axis=1)
        for query, (group, row) in enumerate(zip(of_query.tolist(), table.tolist(), strict=True)):
            writer.writerow([way, query, names[group], *row])
    write_atomic(path, text.getvalue().encode())
