"""The evaluation of an alignment model, as a notebook."""

from __future__ import annotations

from collections.abc import Mapping

from edge_glass.tools.create.template import render

NAME = "05_alignment_evaluation.ipynb"

DEFAULTS: dict[str, tuple[object, str]] = {
    "project": ("..", "the project's folder, relative to this notebook"),
    "model_folder": ("models/align", "what `dvc repro align` wrote"),
    "data": (".", "the folder of artifacts/, where `dvc repro encode` wrote images and features"),
    "split": ("", "which images and captions; empty: the last validation split"),
    "ks": ((1, 5, 10), "K of Recall@K"),
    "dim": (0, "numbers of an embedding used in the figures below; 0: all"),
    "device": ("cpu", "cpu, cuda or cuda:1: where the model runs"),
    "num_threads": (2, "CPU threads, as in params.yaml; a different number may change last digits"),
    "reproducibility": ("portable", "portable or native, as in params.yaml"),
    "tsne_points": (120, "pairs drawn in the map of the shared space"),
    "heat_map_pairs": (16, "pairs in the similarity heat map"),
    "examples": (4, "best and worst retrievals shown"),
}


CELLS = """
# %% [markdown]
# Alignment: how well do images and captions find each other?

One model, one split. The first code cell holds all options. The numbers are those of
`metrics/evaluate_align.json`, computed again from the same features.

# %% parameters
# %% [markdown]
## Model and data

Features come from the cache that `dvc repro encode` wrote, so the frozen encoders do not run. The
code of `evaluate_align` itself embeds the split, so the numbers below are its numbers.

# %%
from pathlib import Path

from edge_glass.training.engine.determinism import make_deterministic, set_environment
from edge_glass.training.runtime.own_sources import check_own_sources

check_own_sources(Path(project), "notebooks")  # not the code of a different checkout
set_environment(reproducibility)  # before torch loads
make_deterministic(num_threads, reproducibility)

# %%
from contextlib import chdir

from edge_glass.encoders.device import place_model
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.training.features.captions import caption_rows, first_rows
from edge_glass.training.features.cache import read_index
from edge_glass.training.folders import PREPARED
from edge_glass.training.runtime.split_names import held_out_splits, splits_to_show
from edge_glass.training.stages.evaluate_align import embed_split

root = Path(project)
model = DualEncoder.from_pretrained(root / model_folder, load_encoders=False)
model = place_model(model, device)
with chdir(root / data):  # the paths of a stage are relative to this folder
    names = read_index().splits["captions"]
    split = split or splits_to_show(names)[-1]
    embedded = embed_split(model, split, caption_rows("train", PREPARED))

# %%
dims = list(model.config.matryoshka_dims)
dim = dim or max(dims)
captions = embedded.captions[: len(embedded.text)]
if not held_out_splits(names):
    print("No split is held out: training used these images, so new ones score lower.")
print(f"{split}: {len(embedded.image)} images of {len(captions)} things")
print(f"an image chooses among {len(embedded.candidates)} captions")
print(f"dims {dims}; the figures below use {dim}")

# %% [markdown]
## Recall@K, in both directions, at every dim

i2t: an image looks for its caption. t2i: a caption looks for an image of what it names; any one
is right. `chance` is the mean over all orders of the candidates.

# %%
from edge_glass.training.evaluation.retrieval.recall import chance_metrics, retrieval_metrics

image_side = embedded.image, embedded.image_groups
text_side = embedded.text, embedded.text_groups
candidates = embedded.candidates, embedded.candidate_groups


def recall(queries, answers, d):
    return retrieval_metrics(queries[0][:, :d], answers[0][:, :d], queries[1], answers[1], ks)


curve = {
    d: {"i2t": recall(image_side, candidates, d), "t2i": recall(text_side, image_side, d)}
    for d in dims
}
chance = {
    "i2t": chance_metrics(image_side[1], candidates[1], ks),
    "t2i": chance_metrics(text_side[1], image_side[1], ks),
}

# %%
from IPython.display import Markdown

columns = [(way, f"R@{k}") for way in ("i2t", "t2i") for k in ks]
lines = ["| dim | " + " | ".join(f"{way} {name}" for way, name in columns) + " |"]
lines += ["|---:" * (len(columns) + 1) + "|"]
for label, result in [*curve.items(), ("chance", chance)]:
    shares = " | ".join(f"{result[way][name]:.1%}" for way, name in columns)
    lines += [f"| {label} | {shares} |"]
Markdown("\\n".join(lines))

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), sharey=True, layout="constrained")
for axis, (way, title) in zip(axes, [("i2t", "image to caption"), ("t2i", "caption to image")]):
    for k in ks:
        axis.plot(dims, [100 * curve[d][way][f"R@{k}"] for d in dims], marker="o", label=f"R@{k}")
    axis.set_xscale("log", base=2)
    axis.set_xticks(dims, [str(d) for d in dims])
    axis.set(title=title, xlabel="numbers kept of an embedding")
axes[0].set_ylabel("recall in %")
axes[0].set_ylim(0, 100)
axes[1].legend()
plt.show()

# %% [markdown]
## The shared space

t-SNE of both modalities: a line joins an image and its caption. Short lines are good; two
clouds side by side would mean that the modalities never met.

# %%
import torch
from edge_glass.encoders.matryoshka import truncate
from edge_glass.training.evaluation.figures.plots import tsne

image, text = truncate(embedded.image, dim), truncate(embedded.text, dim)
step = max(1, len(image) // tsne_points)
picked = torch.arange(0, len(image), step)[:tsne_points]
points = torch.cat([image[picked], text[embedded.image_groups[picked]]]).numpy()
places = tsne(points)

# %%
left, right = places[: len(picked)], places[len(picked) :]
plt.figure(figsize=(7, 6), layout="constrained")
plt.plot([left[:, 0], right[:, 0]], [left[:, 1], right[:, 1]], color="0.8", linewidth=0.6, zorder=0)
plt.scatter(*left.T, s=14, label="images")
plt.scatter(*right.T, s=14, marker="s", label="captions")
plt.axis("off")
plt.legend()
plt.show()

# %% [markdown]
## Similarities of images and captions

Cosine similarity of a few images (rows) and captions (columns). The diagonal should be
the brightest of its row and column.

# %%
every = max(1, len(captions) // heat_map_pairs)
shown = list(range(0, len(captions), every))[:heat_map_pairs]
by_group = first_rows(embedded.image_groups)
first = [by_group[group] for group in shown]
similarity = image[first] @ text[shown].T

names = [captions[c].split(".")[0][:28] for c in shown]
plt.figure(figsize=(9, 7), layout="constrained")
plt.imshow(similarity, cmap="viridis")
plain = {"fontsize": 7, "parse_math": False}  # captions may contain $
plt.xticks(range(len(shown)), names, rotation=90, **plain)
plt.yticks(range(len(shown)), names, **plain)
plt.colorbar(label="cosine similarity", shrink=0.7)
plt.show()

# %% [markdown]
## Best and worst retrievals

Captions by the margin between their best right image and the best wrong one. In each row
the five images found first; a green frame is right.

# %%
from edge_glass.training.evaluation.figures.stored_images import stored_images
from matplotlib_inline.backend_inline import set_matplotlib_formats

set_matplotlib_formats("jpeg", pil_kwargs={"quality": 80})  # photographs: a fifth of the bytes
image_file = root / data / PREPARED / f"captions/{split}.images.parquet"
scores = text @ image.T
right = embedded.text_groups[:, None] == embedded.image_groups[None, :]
margin = scores.masked_fill(~right, -2).amax(1) - scores.masked_fill(right, -2).amax(1)
order = margin.argsort(descending=True)

# %%
def show(queries, title):
    size = (7.5, 1.8 * len(queries))
    space = {"hspace": 0.3, "wspace": 0.05}
    figure, axes = plt.subplots(len(queries), 5, figsize=size, squeeze=False, gridspec_kw=space)
    figure.suptitle(title)
    found = scores[queries].topk(5).indices
    stored = stored_images(image_file, embedded.rows.images[found.flatten()].tolist())
    for line, query, places in zip(axes, queries.tolist(), found.tolist()):
        line[0].set_title(captions[query][:90], loc="left", fontsize=8, parse_math=False)
        for axis, place in zip(line, places):
            axis.imshow(stored[int(embedded.rows.images[place])])
            axis.set(xticks=[], yticks=[])
            color = "tab:green" if right[query, place] else "tab:red"
            plt.setp(axis.spines.values(), color=color, linewidth=2.5)
    plt.show()


show(order[:examples], "Best")
show(order[-examples:].flip(0), "Worst")
"""


def alignment_evaluation(chosen: Mapping[str, object]) -> str:
    """Returns the notebook's text; `chosen` replaces default parameters.

    Raises:
        ValueError: A parameter is unknown or of a wrong type.
    """
    return render(CELLS, DEFAULTS, chosen)
