"""Stage `evaluate_align`: retrieval in both directions, at every dim, on every held-out split.

A split is scored with one canonical caption per group. A caption can have many images, and any of
them is right. If training has seen all groups of the split, its images choose among *all* captions
that were seen: a user's search does that, and it is the harder test. `among_all` is this test for
each split. `zero_shot` classifies the images by prompts with class names instead. `codes` is the
recall of a search in small codes, with the bytes that they take.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edge_glass.encoders.device import place_model
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.files import output_folder, rounded, write_json
from edge_glass.training.engine.determinism import make_deterministic
from edge_glass.training.evaluation.alignment.among_all import recall_among_all
from edge_glass.training.evaluation.alignment.code_recall import code_recall
from edge_glass.training.evaluation.alignment.config import EvaluateAlignConfig
from edge_glass.training.evaluation.alignment.embedded_split import EmbeddedSplit
from edge_glass.training.evaluation.alignment.figures import draw
from edge_glass.training.evaluation.alignment.rank_file import Ranks, write_ranks
from edge_glass.training.evaluation.alignment.zero_shot import classify_splits, unmatched_groups
from edge_glass.training.evaluation.retrieval.bootstrap import bootstrap_interval
from edge_glass.training.evaluation.retrieval.recall import (
    chance_metrics,
    metrics_of_ranks,
    retrieval_ranks,
)
from edge_glass.training.features.cache import gather, read_index, vision_features
from edge_glass.training.features.captions import CaptionRows, caption_rows, first_rows
from edge_glass.training.folders import ALIGNED, PREPARED
from edge_glass.training.runtime.nothing_to_do import nothing_to_do, read_note
from edge_glass.training.runtime.progress import progress, say
from edge_glass.training.runtime.split_names import TRAIN, held_out_splits

if TYPE_CHECKING:
    from edge_glass.training.params import Params

METRICS = Path("metrics/evaluate_align.json")
PLOTS = Path("plots/evaluate_align")
PREDICTIONS = Path("predictions/align")
BATCH = 256
MAX_OTHERS = 10_000  # captions of training that a split with unseen groups also chooses among
BANK = 2000  # images of training that measure how much captions attract
NO_SPLIT = "the captions have only the split train, so no split is held out to score"


def run(params: Params) -> None:
    """Runs the stage."""
    config = params.evaluate_align
    names = held_out_splits(read_index().splits.get("captions", []))
    reason = read_note(PREPARED / "captions") or (None if names else NO_SPLIT)
    if reason is not None:
        nothing_to_do("evaluate_align", reason, PLOTS, PREDICTIONS, metrics=METRICS)
        return
    make_deterministic(params.num_threads, params.reproducibility)
    model = place_model(DualEncoder.from_pretrained(ALIGNED, load_encoders=False), params.device)
    dims = model.config.matryoshka_dims
    train = caption_rows("train", PREPARED)
    metrics: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    ranks: dict[str, Ranks] = {}
    splits = {name: embed_split(model, name, train) for name in progress(names, "evaluate_align")}
    bank = embed_bank(model, train)
    for name, split in splits.items():
        curves[name], intervals[name], ranks[name] = score(split, dims, config)
        chance = {
            "i2t": chance_metrics(
                split.image_groups.numpy(), split.candidate_groups.numpy(), config.ks
            ),
            "t2i": chance_metrics(split.text_groups.numpy(), split.image_groups.numpy(), config.ks),
        }
        metrics[name] = {
            **{str(dim): curve for dim, curve in curves[name].items()},
            "untruncated": curves[name][dims[0]],
            "kept": {str(dim): share for dim, share in shares_kept(curves[name]).items()},
            "chance": chance,
            "R@1_interval": {str(dim): ends for dim, ends in intervals[name].items()},
            "codes": code_recall(split, dims),
        }
        metrics[name]["among_all"] = recall_among_all(name, splits, bank, dims, config)
        best, kept = curves[name][dims[0]], shares_kept(curves[name])[dims[-1]]
        say(
            f"evaluate_align {name}: R@1 at {dims[0]} dims {best['i2t']['R@1']:.3f} image to text, "
            f"{best['t2i']['R@1']:.3f} text to image; {dims[-1]} dims keep {kept['i2t']:.0%} and "
            f"{kept['t2i']:.0%} of it"
        )
    if config.zero_shot is not None and config.zero_shot.data not in (None, params.data_name):
        say(
            f"evaluate_align: zero_shot is for the data set {config.zero_shot.data} and is left "
            f"out; the data set is {params.data_name}"
        )
    elif config.zero_shot is not None:
        groups_of = (rows.group_names for rows in (train, *(each.rows for each in splits.values())))
        for sentence in unmatched_groups(config.zero_shot, chain.from_iterable(groups_of)):
            say(f"evaluate_align: {sentence}")
        model.add_encoders(text=True)
        for name, scores in classify_splits(model, splits, train, config.zero_shot).items():
            metrics[name]["zero_shot"] = scores
    write_json(METRICS, rounded(metrics))
    with output_folder(PREDICTIONS) as folder:
        for name, split in splits.items():
            groups = {"i2t": split.image_groups.numpy(), "t2i": split.text_groups.numpy()}
            write_ranks(folder / f"{name}.csv", ranks[name], groups, split.rows.group_names)
    with output_folder(PLOTS) as folder:
        draw(splits, curves, intervals, metrics, config, folder)


def embed_split(model: DualEncoder, name: str, train: CaptionRows) -> EmbeddedSplit:
    """Embeds a split's images and the captions that they are scored with."""
    rows = caption_rows(name, PREPARED)
    with torch.inference_mode():
        image = _images(model, name, rows.images)
        text, captions = _captions(model, rows, rows.group_names)
        own, own_captions = set(rows.group_names), set(rows.group_captions)
        seen, seen_captions = set(train.group_names), set(train.group_captions)
        others = [
            group
            for group, caption in zip(train.group_names, train.group_captions, strict=True)
            if group not in own and caption not in own_captions
        ]
        all_seen = all(
            group in seen or caption in seen_captions
            for group, caption in zip(rows.group_names, rows.group_captions, strict=True)
        )
        if not all_seen:
            others = others[:: max(1, -(-len(others) // MAX_OTHERS))]
        more, more_captions = _captions(model, train, others)
        all_captions = torch.cat([text, more])
        candidates = all_captions if all_seen else text
    return EmbeddedSplit(
        rows=rows,
        image=image,
        image_groups=rows.groups,
        text=text,
        text_groups=torch.arange(len(text)),
        candidates=candidates,
        candidate_groups=torch.arange(len(candidates)),
        captions=captions + more_captions if all_seen else captions,
        all_captions=all_captions,
    )


def embed_bank(model: DualEncoder, train: CaptionRows) -> Tensor:
    """Embeds one image of each group of training, or of `BANK` groups spread over them, (K, E)."""
    firsts = list(first_rows(train.groups).values())
    chosen = firsts[:: -(-len(firsts) // BANK)]
    with torch.inference_mode():
        return _images(model, TRAIN, train.images[chosen])


def _images(model: DualEncoder, name: str, images: Tensor) -> Tensor:
    """Embeds these images of a split, (n, E), on the CPU."""
    features, device = vision_features("captions", name), model.logit_scale.device
    parts = (gather(features, part).to(device) for part in images.split(BATCH))
    return torch.cat([model.image_embeddings(part).cpu() for part in parts])


def _captions(model: DualEncoder, rows: CaptionRows, groups: list[str]) -> tuple[Tensor, list[str]]:
    """Embeds the canonical captions of the named groups, in that order; returns them as well."""
    first = first_rows(rows.groups)
    numbers = {group: number for number, group in enumerate(rows.group_names)}
    chosen = torch.tensor([first[numbers[group]] for group in groups], dtype=torch.long)
    features = rows.features[rows.canonical[chosen]].to(model.logit_scale.device)
    captions = [rows.captions[row] for row in chosen.tolist()]
    return model.text_embeddings(features).cpu(), captions


def score(
    split: EmbeddedSplit, dims: tuple[int, ...], config: EvaluateAlignConfig
) -> tuple[dict[int, Any], dict[int, Any], Ranks]:
    """Returns (curve, intervals of R@1, ranks) by dim and direction."""
    curve: dict[int, Any] = {}
    intervals: dict[int, Any] = {}
    all_ranks: dict[int, Any] = {}
    for dim in dims:
        ranks = {
            "i2t": retrieval_ranks(
                split.image[:, :dim],
                split.candidates[:, :dim],
                split.image_groups,
                split.candidate_groups,
                block_size=config.block_size,
            ),
            "t2i": retrieval_ranks(
                split.text[:, :dim],
                split.image[:, :dim],
                split.text_groups,
                split.image_groups,
                block_size=config.block_size,
            ),
        }
        groups = {"i2t": split.image_groups.numpy(), "t2i": split.text_groups.numpy()}
        all_ranks[dim] = ranks
        curve[dim] = {way: metrics_of_ranks(each, config.ks) for way, each in ranks.items()}
        intervals[dim] = {
            way: bootstrap_interval(
                each <= 1, groups=groups[way], num_resamples=config.bootstrap_samples
            )
            for way, each in ranks.items()
        }
    return curve, intervals, all_ranks


def shares_kept(curve: dict[int, Any]) -> dict[int, dict[str, float]]:
    """Returns the share of the R@1 of the full embedding that each dim keeps, by direction."""
    full = curve[max(curve)]
    return {
        dim: {
            way: each["R@1"] / full[way]["R@1"] if full[way]["R@1"] else 0.0
            for way, each in ways.items()
        }
        for dim, ways in curve.items()
    }
