"""The plots of retrieval and their data; sheets and maps show validation splits only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edge_glass.encoders.files import rounded
from edge_glass.encoders.matryoshka import truncate
from edge_glass.training.evaluation.alignment.config import EvaluateAlignConfig
from edge_glass.training.evaluation.alignment.embedded_split import EmbeddedSplit
from edge_glass.training.evaluation.figures.plots import (
    codes_figure,
    recall_figure,
    recall_table,
    similarity_figure,
    tsne_figure,
    write_table,
)
from edge_glass.training.evaluation.figures.sheets import (
    Retrieval,
    Retrieved,
    retrieval_sheet,
    spread,
)
from edge_glass.training.evaluation.figures.stored_images import stored_images
from edge_glass.training.evaluation.retrieval.recall import retrieval_ranks
from edge_glass.training.features.captions import first_rows
from edge_glass.training.folders import PREPARED
from edge_glass.training.runtime.split_names import is_validation


def draw(
    splits: dict[str, EmbeddedSplit],
    curves: dict[str, Any],
    intervals: dict[str, Any],
    metrics: dict[str, Any],
    config: EvaluateAlignConfig,
    folder: Path,
) -> None:
    """Writes the plots and their data; sheets and maps show validation splits only."""
    chance = {
        name: {way: metrics[name]["chance"][way]["R@1"] for way in ("i2t", "t2i")}
        for name in splits
    }
    for name, curve in curves.items():
        write_table(folder / f"recall_{name}.csv", rounded(recall_table(curve)))
    recall_figure(folder / "recall.png", curves, chance, intervals=intervals)
    codes_figure(folder / "codes.png", {name: metrics[name]["codes"] for name in splits})
    for name, split in splits.items():
        if not is_validation(name):
            continue
        by_group = first_rows(split.image_groups)
        first = torch.tensor([by_group[group] for group in split.text_groups.tolist()])
        few = spread(range(len(first)), 24)
        image, text = truncate(split.image[first[few]]), truncate(split.text[few])
        similarity_figure(
            folder / f"similarity_{name}.png",
            (image @ text.T).numpy(),
            [split.captions[row] for row in few],
            title=f"{len(few)} pictures and captions of {name}",
        )
        points = first[: config.tsne_points]
        tsne_figure(
            folder / f"tsne_{name}.png",
            truncate(split.image[points]).numpy(),
            truncate(split.text[: len(points)]).numpy(),
            [split.rows.labels[row] for row in points.tolist()],
            title=f"Pictures and captions of {name} in one space (t-SNE)",
        )
        sheet(split, name, folder)


def sheet(split: EmbeddedSplit, name: str, folder: Path) -> None:
    """Writes sheets of the best and the worst text-to-image retrievals."""
    text, image = truncate(split.text), truncate(split.image)
    ranks = retrieval_ranks(split.text, split.image, split.text_groups, split.image_groups)
    order = sorted(range(len(text)), key=lambda row: (int(ranks[row]), row))
    better = order[: max(6, len(order) // 2)]
    chosen = {"best": spread(better, 6), "worst": order[-6:]}

    def candidates(row: int) -> list[tuple[int, str]]:
        """Returns the first images that a caption finds and, if all are wrong, the right one."""
        scores = image @ text[row]
        top: list[int] = scores.topk(min(5, len(scores))).indices.tolist()
        right = (split.image_groups == split.text_groups[row]).nonzero()[:, 0]
        if set(top) & set(right.tolist()):
            return [(index, "") for index in top]
        wanted = int(right[scores[right].argmax()])
        return [*((index, "") for index in top), (wanted, f"rank {int(ranks[row])}")]

    found = {row: candidates(row) for rows in chosen.values() for row in rows}
    stored = [int(split.rows.images[index]) for each in found.values() for index, _ in each]
    images = stored_images(PREPARED / "captions" / f"{name}.images.parquet", stored)
    for kind, rows in chosen.items():
        retrievals = []
        for row in rows:
            scores = image @ text[row]
            results = [
                Retrieved(
                    content=images[int(split.rows.images[index])],
                    score=float(scores[index]),
                    right=int(split.image_groups[index]) == int(split.text_groups[row]),
                    note=note,
                )
                for index, note in found[row]
            ]
            note = f"rank {int(ranks[row])}"
            retrievals.append(Retrieval(query=split.captions[row], results=results, note=note))
        title = f"Text to image on {name}: {kind} ranks"
        retrieval_sheet(folder / f"{kind}_{name}.png", retrievals, title)
