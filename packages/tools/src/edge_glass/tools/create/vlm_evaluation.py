"""The evaluation of a vision-language model, as a notebook."""

from __future__ import annotations

from collections.abc import Mapping

from edge_glass.tools.create.template import render

NAME = "06_vlm_evaluation.ipynb"

DEFAULTS: dict[str, tuple[object, str]] = {
    "project": ("..", "the project's folder, relative to this notebook"),
    "model_folder": ("models/vlm_qa", "of a different model the questions are answered here"),
    "data": (".", "the folder of artifacts/, where `dvc repro encode` wrote images and features"),
    "split": ("", "which images and questions; empty: the first validation split"),
    "device": ("cpu", "cpu, cuda or cuda:1: where a different model runs"),
    "num_threads": (2, "CPU threads, as in params.yaml; a different number may change last digits"),
    "reproducibility": ("portable", "portable or native, as in params.yaml"),
    "batch_size": (128, "questions answered at once; changes no answer"),
    "examples": (8, "questions shown with their images, right and wrong"),
    "compare": (True, "read `dvc exp show` for the comparison of fusions"),
}


CELLS = """
# %% [markdown]
# Questions about images: how often is the answer right, and is it the image?

A model can guess: so each number stands beside what the same model answers with a *different*
image (shuffled) and with none (blind), and beside the most frequent answer (majority).

# %% parameters
# %% [markdown]
## The quoted numbers, from `metrics/evaluate_vlm_qa.json`

# %%
import json
from pathlib import Path

from IPython.display import Markdown

root = Path(project)
metrics = json.loads((root / "metrics/evaluate_vlm_qa.json").read_text())
columns = ["accuracy", "blind", "shuffled", "majority"]
lines = ["| split | " + " | ".join(columns) + " |", "|---" + "|---:" * len(columns) + "|"]
for name, result in metrics.items():
    lines += [f"| {name} | " + " | ".join(f"{result[c]:.1%}" for c in columns) + " |"]
Markdown("\\n".join(lines))

# %% [markdown]
## The answers, from `predictions/vlm_qa`

`dvc repro evaluate_vlm_qa` wrote them. Shuffled: every question gets the image half-way round the
split, never its own. Blind: the mean features of up to 64 images.

# %%
from edge_glass.training.engine.determinism import make_deterministic, set_environment
from edge_glass.training.runtime.own_sources import check_own_sources

check_own_sources(root, "notebooks")  # not the code of a different checkout
set_environment(reproducibility)  # before torch loads
make_deterministic(num_threads, reproducibility)

# %%
from contextlib import chdir

from edge_glass.training.features.cache import prepared_rows, read_index
from edge_glass.training.folders import FEATURES, PREPARED
from edge_glass.training.runtime.split_names import held_out_splits, splits_to_show

splits = read_index(root / data / FEATURES).splits["questions"]
split = split or splits_to_show(splits)[0]
rows = prepared_rows("questions", split, root / data / PREPARED)
if not held_out_splits(splits):
    print("No split is held out: training used these questions, so new ones score lower.")
print(f"{split}: {len(rows)} questions over {len({row['image'] for row in rows})} images")

# %%
from edge_glass.encoders.device import place_model
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.evaluation.answers.controls import answer_with_controls
from edge_glass.training.features.cache import vision_features

stored = root / f"predictions/vlm_qa/{split}.jsonl"
if model_folder == "models/vlm_qa" and stored.is_file():
    with stored.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    if [line["question"] for line in lines] != [row["question"] for row in rows]:
        raise ValueError(f"{stored} has other questions: run `dvc repro evaluate_vlm_qa` first")
    answers = {name: [line[name] for line in lines] for name in ("model", "blind", "shuffled")}
else:  # a different model, or a split that is not held out
    folder, features = (root / model_folder).resolve(), (root / data / FEATURES).resolve()
    with chdir(root / data):  # a model that is a folder is relative to this folder
        model = VisionLanguageModel.from_pretrained(folder, load_vision_encoder=False)
        vision = vision_features("questions", split, features)
        answers = answer_with_controls(place_model(model, device), rows, vision, batch_size, split)
predictions = answers["model"]

# %% [markdown]
## Accuracy by type of question

# %%
from edge_glass.training.evaluation.answers.scores import (
    majority_answers,
    majority_predictions,
    vqa_metrics,
)

truths, types = [row["answer"] for row in rows], [row["type"] for row in rows]
train = prepared_rows("questions", "train", root / data / PREPARED)
majority = majority_answers([row["answer"] for row in train], [row["type"] for row in train])
answers["majority"] = majority_predictions(majority, types)
scored = {name: vqa_metrics(given, truths, types) for name, given in answers.items()}
{name: round(result["accuracy"], 3) for name, result in scored.items()}

# %%
import matplotlib.pyplot as plt

kinds = sorted(set(types), key=lambda kind: -scored["model"]["by_type"][kind])
plt.figure(figsize=(8, 0.55 * len(kinds) + 1), layout="constrained")
colors = {"model": "tab:blue", "shuffled": "0.5", "blind": "0.65", "majority": "0.8"}
for offset, (name, color) in enumerate(colors.items()):
    heights = [100 * scored[name]["by_type"][kind] for kind in kinds]
    plt.barh([n + 0.2 * offset for n in range(len(kinds))], heights, 0.19, color=color, label=name)
names = [f"{k} ({types.count(k)})" for k in kinds]
plt.yticks([n + 0.3 for n in range(len(kinds))], names, parse_math=False)
plt.gca().invert_yaxis()
plt.xlim(0, 100)
plt.xlabel("exact match in %")
plt.legend(loc="lower right")
plt.show()

# %% [markdown]
## Right and wrong answers, with their images

# %%
import textwrap

from edge_glass.training.evaluation.answers.scores import exact_match
from edge_glass.training.evaluation.figures.sheets import spread
from edge_glass.training.evaluation.figures.stored_images import stored_images
from matplotlib_inline.backend_inline import set_matplotlib_formats

set_matplotlib_formats("jpeg", pil_kwargs={"quality": 80})  # photographs: a fifth of the bytes
image_file = root / data / PREPARED / f"questions/{split}.images.parquet"
is_right = [exact_match(found, truth) for found, truth in zip(predictions, truths)]

right = spread([n for n, value in enumerate(is_right) if value], examples)
wrong = spread([n for n, value in enumerate(is_right) if not value], examples)

# %%
def show(places, title, columns=4):
    if not places:
        print(f"{title}: none")
        return
    lines = -(-len(places) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(11, 3.3 * lines), squeeze=False, layout="constrained"
    )
    figure.suptitle(title)
    for axis in axes.flat:
        axis.axis("off")
    stored = stored_images(image_file, (rows[n]["image"] for n in places))
    for axis, n in zip(axes.flat, places):
        axis.imshow(stored[rows[n]["image"]])
        question = textwrap.fill(rows[n]["question"], 36)
        text = f"{question}\\n{predictions[n]} (true: {truths[n]})"
        axis.set_title(text, fontsize=8, parse_math=False)  # texts may contain $
    plt.show()


show(right, "Right")
show(wrong, "Wrong")

# %% [markdown]
## Fusions compared

what `dvc exp run -S fusion=…` wrote, best first. Run more with
`dvc exp run --queue -S fusion=concat,cross_attention,gated` and `dvc queue start`.

# %%
import subprocess
import sys


def experiments():
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    for commit in json.loads(shown):
        for entry in [commit, *[r for e in commit.get("experiments") or [] for r in e["revs"]]]:
            data = entry.get("data") or {}
            params = ((data.get("params") or {}).get("params.yaml") or {}).get("data") or {}
            files = data.get("metrics") or {}
            result = (files.get("metrics/evaluate_vlm_qa.json") or {}).get("data") or {}
            if split in result:
                yield params.get("fusion"), params.get("decoder"), result[split]


found = {(f, d): r for f, d, r in experiments()} if compare else {}
lines = ["| fusion | decoder | accuracy | shuffled | blind |", "|---|---|---:|---:|---:|"]
for (fusion, decoder), r in sorted(found.items(), key=lambda item: -item[1]["accuracy"]):
    shares = " | ".join(f"{r[c]:.1%}" for c in ("accuracy", "shuffled", "blind"))
    lines += [f"| {fusion} | {decoder} | {shares} |"]
Markdown("\\n".join(lines) if found else "No experiments were requested, or none has been run.")
"""


def vlm_evaluation(chosen: Mapping[str, object]) -> str:
    """Returns the notebook's text; `chosen` replaces default parameters.

    Raises:
        ValueError: A parameter is unknown or of a wrong type.
    """
    return render(CELLS, DEFAULTS, chosen)
