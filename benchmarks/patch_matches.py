"""How well the aligned space tells, before any question is learned, whether an object is there.

Run:    python benchmarks/patch_matches.py
Needs:  edge-glass-training, and what `dvc repro align` writes

For each question "is there a NAME?" of the validation splits, the largest cosine of the name with a
patch of the image, in the first dims of the space. AUC is the share of pairs of a yes and a no that
this ranks rightly: 50 % is chance. It bounds what word matches can give, so it shows what a change
of `align` (the size of its images, its pooling, its head) means for answers.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.training.features.cache import gather, prepared_rows, read_index, vision_features
from edge_glass.training.folders import ALIGNED, PREPARED

# the object is named after one of these, in front of a place or the end
NAME = re.compile(
    r"(?:\ba|\ban|\bany|\bsome)\s+(.+?)(?:\s+(?:in|on|present|visible|here|there|shown)\b.*)?\??$"
)


def auc(scores: NDArray[np.float64], truths: NDArray[np.bool_]) -> float:
    """Return the share of pairs (yes, no) in which the yes has the higher score."""
    yes, no = scores[truths][:, None], scores[~truths][None]
    return float((yes > no).mean() + (yes == no).mean() / 2)


@torch.no_grad()
def main() -> None:
    """Print a line a split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not (ALIGNED / "model.safetensors").is_file() or not Path("artifacts/features").is_dir():
        raise SystemExit(f"{ALIGNED} is not there: run `dvc repro align` first")
    dual = DualEncoder.from_pretrained(ALIGNED, load_encoders=False)
    dual.add_encoders(text=True)
    for split in read_index().splits["questions"]:
        if not split.startswith("val"):
            continue
        asked = [
            (row["image"], found[1], row["answer"] == "yes")
            for row in prepared_rows("questions", split, PREPARED)
            if row["type"] == "exists" and (found := NAME.search(row["question"].lower()))
        ]
        if not asked:
            continue
        features = gather(vision_features("questions", split), np.array([row[0] for row in asked]))
        patches = dual.image_head(features)  # (questions, P, E)
        names = dual.text_embeddings(dual.text.encode([row[1] for row in asked]))  # type: ignore[union-attr]
        truths = np.array([row[2] for row in asked])
        cells = []
        for dim in arguments.dims:
            cosines = torch.cosine_similarity(patches[..., :dim], names[:, None, :dim], dim=-1)
            score = auc(cosines.amax(dim=1).double().numpy(), truths)
            cells.append(f"{dim} dims {100 * score:.1f}")
        print(f"{split:14} {len(asked)} questions  AUC in %: {', '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
