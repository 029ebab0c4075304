"""Figures as PNG and their data as CSV for `dvc plots`: the same numbers give the same bytes.

Matplotlib's Agg renderer is called without pyplot, with its default settings instead of the user's,
and without the metadata that would hold a version or a time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_glass.encoders.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Mapping[int, Mapping[str, Mapping[str, float]]]  # of `retrieval_curve`
Floats = NDArray[np.floating]

DIRECTIONS = {"i2t": "image to text", "t2i": "text to image"}
_BLUE, _ORANGE, _GREY = "#2166ac", "#e08214", "#8c8c8c"
_GROUPS = [f"C{place}" for place in (0, 1, 2, 3, 4, 5, 6, 8, 9)]  # C7 is grey, as "other" is
_SETTINGS = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.titlesize": 13,
    "font.size": 10,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "axes.axisbelow": True,
    "text.parse_math": False,  # captions may contain $
}


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes rows of equal keys as CSV, which `dvc plots` reads."""
    if not rows or any(list(row) != list(rows[0]) for row in rows):
        raise ValueError(f"found {len(rows)} rows for {path.name}; expected rows, of equal keys")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.getvalue().encode())


def recall_table(curve: Curve) -> list[dict[str, float]]:
    """Returns one row per dim, ascending, with columns such as "i2t R@1"."""
    return [
        {"dim": dim}
        | {
            f"{direction} {name}": value
            for direction, metrics in curve[dim].items()
            for name, value in metrics.items()
        }
        for dim in sorted(curve)
    ]


def recall_figure(
    path: Path,
    curves: Mapping[str, Curve],
    chance: Mapping[str, Mapping[str, float]] | None = None,
    *,
    metric: str = "R@1",
    intervals: Mapping[str, Mapping[int, Mapping[str, tuple[float, float]]]] | None = None,
) -> None:
    """Draws recall against the embeddings' dim: one panel per split, one line per direction.

    `curves` are those of `retrieval_curve` by split, `chance` is the metric by split and direction,
    and `intervals` are the ends of a confidence interval by split, dim and direction. A dotted line
    marks the value of the full embeddings.
    """
    columns = 2 if len(curves) > 3 else len(curves)  # four in a row are too small to read on a page
    rows = -(-len(curves) // columns)
    with _figure(path, (0.8 + 4.2 * columns, 1.0 + 2.9 * rows)) as figure:
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels = grid.ravel()
        for panel in panels[len(curves) :]:
            panel.set_visible(False)
        for panel, (split, curve) in zip(panels, curves.items(), strict=False):
            dims = sorted(curve)
            for direction, colour, marker in (("i2t", _BLUE, "o"), ("t2i", _ORANGE, "s")):
                values = [100 * curve[dim][direction][metric] for dim in dims]
                panel.plot(
                    dims, values, color=colour, marker=marker, ms=5, label=DIRECTIONS[direction]
                )
                panel.axhline(values[-1], color=colour, lw=1, ls=":", alpha=0.8)
                if intervals is not None:
                    ends = [intervals[split][dim][direction] for dim in dims]
                    low, high = (100 * np.array(side) for side in zip(*ends, strict=True))
                    panel.fill_between(dims, low, high, color=colour, alpha=0.15, lw=0)
                if chance is not None:
                    level = 100 * chance[split][direction]
                    panel.axhline(level, color=colour, lw=1, ls=(0, (4, 3)), label=None)
            panel.set_xscale("log", base=2)
            panel.set_xticks(dims, [str(dim) for dim in dims])
            panel.minorticks_off()
            panel.set(title=split)
        for panel in grid[-1]:
            panel.set_xlabel("dimensions kept")
        for panel in grid[:, 0]:
            panel.set_ylabel(f"{metric} (%)")
        # the panels share the axis: its top is that of the highest panel
        panels[0].set_ylim(bottom=0)
        handles, labels = panels[0].get_legend_handles_labels()
        handles.append(_line(":"))
        labels.append("un-truncated")
        if chance is not None:
            handles.append(_line((0, (4, 3))))
            labels.append("chance")
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        figure.suptitle("Retrieval against embedding dimension")


def codes_figure(
    path: Path, codes: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]
) -> None:
    """Draws recall@10 against the bytes of an image's code: one panel per split.

    `codes` has `bytes` and `R@10` by split, dim and precision. There is one line per precision, and
    one point per dim.
    """
    columns = 2 if len(codes) > 3 else len(codes)
    rows = -(-len(codes) // columns)
    with _figure(path, (0.8 + 4.2 * columns, 1.0 + 2.9 * rows)) as figure:
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels = grid.ravel()
        for panel in panels[len(codes) :]:
            panel.set_visible(False)
        for panel, (split, by_dim) in zip(panels, codes.items(), strict=False):
            dims = sorted(by_dim, key=int)
            styles = zip(by_dim[dims[0]], (_BLUE, _ORANGE, _GREY), "os^", strict=False)
            for precision, colour, marker in styles:
                points = [by_dim[dim][precision] for dim in dims]
                panel.plot(
                    [point["bytes"] for point in points],
                    [100 * point["R@10"] for point in points],
                    color=colour,
                    marker=marker,
                    ms=5,
                    label=precision,
                )
            panel.set_xscale("log", base=2)
            sizes = sorted({each["bytes"] for point in by_dim.values() for each in point.values()})
            panel.set_xticks(sizes[::2], [f"{size:.0f}" for size in sizes[::2]])
            panel.minorticks_off()
            panel.set(title=split)
        panels[0].set_ylim(bottom=0)
        for panel in grid[-1]:
            panel.set_xlabel("bytes per image")
        for panel in grid[:, 0]:
            panel.set_ylabel("recall@10 (%), text to image")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.suptitle("Search in small codes")


def similarity_figure(
    path: Path, similarity: Floats, captions: Sequence[str], title: str = "Pictures and captions"
) -> None:
    """Draws cosines (n, n) of n images (rows) and their captions (columns) as a heat map.

    The rows are labelled by captions with numbers, the columns by the numbers.
    """
    number = len(similarity)
    with _figure(path, (5.4 + 0.28 * number, 1.3 + 0.28 * number)) as figure:
        panel = figure.subplots()
        drawn = panel.imshow(similarity, cmap="viridis", interpolation="nearest")
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        numbers = [str(place + 1) for place in range(number)]
        labels = [
            f"{_shortened(caption, 48)}  {place}"
            for place, caption in zip(numbers, captions, strict=True)
        ]
        panel.set_xticks(range(number), numbers, fontsize=8)
        panel.set_yticks(range(number), labels, fontsize=8)
        panel.tick_params(length=0)
        panel.set(title=title, xlabel="caption", ylabel="picture of")
        figure.colorbar(drawn, ax=panel, label="cosine similarity", shrink=0.8)


def tsne_figure(
    path: Path,
    image: Floats,
    text: Floats,
    labels: Sequence[str],
    *,
    title: str = "Pictures and captions in one space (t-SNE)",
) -> None:
    """Draws pairs of images and captions (n, D) in the plane, joined, coloured by `labels`.

    Each of the nine most frequent labels has a colour; all others, and "", are grey.
    """
    points = tsne(np.concatenate([image, text]))
    images, captions = points[: len(image)], points[len(image) :]
    named = set(labels) - {""}
    names = sorted(named, key=lambda name: (-list(labels).count(name), name))[:9]
    with _figure(path, (9.0, 6.4)) as figure:
        panel = figure.subplots()
        for pair in zip(images, captions, strict=True):
            panel.plot(*zip(*pair, strict=True), color="#e4e4e4", lw=0.6, zorder=1)
        for name in [*names, None]:
            chosen = np.array([label == name if name else label not in names for label in labels])
            if not chosen.any():
                continue
            colour = _GROUPS[names.index(name)] if name else "#c4c4c4"
            shown = _shortened(name, 26) if name else "other"
            for places, marker, label in ((images, "o", shown), (captions, "^", None)):
                panel.scatter(
                    places[chosen, 0],
                    places[chosen, 1],
                    s=26,
                    color=colour,
                    marker=marker,
                    label=label,
                    linewidths=0,
                    alpha=0.85,
                    zorder=2,
                )
        panel.set(title=title, xticks=[], yticks=[])
        panel.set_aspect("equal", adjustable="datalim")  # fills the panel
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        figure.legend(loc="outside right center", title="● picture   ▲ caption", alignment="left")


def tsne(embeddings: Floats, seed: int = 0) -> Floats:
    """Returns positions (n, 2) of normalised embeddings, the same at every call."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    points = np.asarray(embeddings, np.float64)
    points = points / np.linalg.norm(points, axis=1, keepdims=True).clip(1e-12)
    with threadpool_limits(1):  # a sum over threads has no fixed order
        places: Floats = TSNE(
            init="pca", perplexity=min(30.0, (len(points) - 1) / 3), random_state=seed, n_jobs=1
        ).fit_transform(points)
    return places


def accuracy_figure(path: Path, accuracies: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Draws bars per question type, one for each of `accuracies` (the model and its controls)."""
    kinds = list(next(iter(accuracies.values())))
    with _figure(path, (2.2 + 1.1 * len(kinds), 3.8)) as figure:
        panel = figure.subplots()
        width = 0.8 / len(accuracies)
        colours = (_BLUE, "#92c5de", "#c7c7c7", _ORANGE)
        for place, (name, values) in enumerate(accuracies.items()):
            left = np.arange(len(kinds)) - 0.4 + width * (place + 0.5)
            heights = [100 * values.get(kind, 0.0) for kind in kinds]
            bars = panel.bar(left, heights, width * 0.92, label=name, color=colours[place % 4])
            if place == 0:
                panel.bar_label(bars, fmt="%.0f", fontsize=8, padding=1)
        panel.set_xticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
        panel.set(ylabel="exact match (%)", ylim=(0, 105), title=title)
        panel.grid(visible=False, axis="x")
        figure.legend(loc="outside lower center", ncols=len(accuracies))


@contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """Yields a figure of that size in inches; writes it to `path` when the block succeeds."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", _SETTINGS], after_reset=True):
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        yield figure
        content = io.BytesIO()
        figure.savefig(content, format="png", metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content.getvalue())


def _line(style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=_GREY, lw=1, ls=style)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip(" .,;:") + "…"
