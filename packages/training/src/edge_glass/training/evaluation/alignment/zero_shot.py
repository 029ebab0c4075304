"""Zero-shot classification: an image chooses the class whose prompts are most like it.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision (ICML 2021),
section 3.1: the embedding of a class is the normalised mean of the normalised embeddings of its
prompts. At a Matryoshka dim, each prompt is truncated first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from edge_glass.encoders.components import nearest, shown
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.files import DataError
from edge_glass.training.evaluation.alignment.config import PLACE, ZeroShotConfig
from edge_glass.training.evaluation.alignment.embedded_split import EmbeddedSplit
from edge_glass.training.evaluation.retrieval.recall import retrieval_ranks
from edge_glass.training.features.captions import CaptionRows

KS = (1, 5)
TEXTS_AT_ONCE = 64
MAX_NAMED = 5  # groups that a report lists


def prompt_embeddings(model: DualEncoder, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Returns the embeddings (C, T, E) of C class names in T templates; needs the text encoder."""
    prompts = [template.replace(PLACE, name) for name in names for template in templates]
    embeddings = model.encode_text(prompts, batch_size=TEXTS_AT_ONCE)
    return embeddings.reshape(len(names), len(templates), -1)


def class_embeddings(prompts: Tensor, dim: int) -> Tensor:
    """Returns the embeddings (C, dim) of classes from those of their prompts (C, T, E)."""
    return functional.normalize(
        functional.normalize(prompts[..., :dim], dim=-1).mean(dim=1), dim=-1
    )


def top_k(
    images: Tensor, classes: Tensor, prompts: Tensor, dims: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Returns `{"512": {"top_1": ..., "top_5": ...}, ...}`, by dim.

    A wrong class with the score of the right one counts as better.

    Args:
        images: (M, E) embeddings.
        classes: (M,) number of each image's class.
        prompts: (C, T, E) embeddings of the prompts of all classes.
        dims: Matryoshka dims, at most E.
    """
    numbers = torch.arange(len(prompts))
    scores = {}
    for dim in dims:
        of_classes = class_embeddings(prompts, dim)
        ranks = retrieval_ranks(images[:, :dim], of_classes, classes, numbers)
        scores[str(dim)] = {f"top_{k}": float((ranks <= k).mean()) for k in KS}
    return scores


def classify_splits(
    model: DualEncoder,
    splits: Mapping[str, EmbeddedSplit],
    train: CaptionRows,
    config: ZeroShotConfig,
) -> dict[str, dict[str, object]]:
    """Returns `top_k` and the number of classes of each split that has images of a class.

    The classes are those of the split. If training has seen all of them, its other classes are
    there to choose from as well. Groups of equal names are one class.
    """
    seen = _names(config, train)
    named = {split: _names(config, each.rows) for split, each in splits.items()}
    every = sorted({name for names in [seen, *named.values()] for name in names if name})
    groups = train.group_names
    if isinstance(config.class_names, dict) and not every:
        wanted, found = (", ".join(names[:5]) for names in (list(config.class_names), groups))
        raise DataError(
            f"zero_shot.class_names names the groups {wanted} and the data have none of them; "
            f"found {found} ..."
        )
    prompts = prompt_embeddings(model, every, config.templates)
    row_of = {name: row for row, name in enumerate(every)}
    results: dict[str, dict[str, object]] = {}
    for split, names in named.items():
        own = sorted({name for name in names if name})
        if not own:
            continue
        chosen = sorted({name for name in seen if name}) if set(own) <= set(seen) else own
        number_of = {name: number for number, name in enumerate(chosen)}
        of_group = torch.tensor([number_of.get(name or "", -1) for name in names])
        classes = of_group[splits[split].rows.groups]
        kept = classes >= 0
        rows = torch.tensor([row_of[name] for name in chosen])
        scores = top_k(
            splits[split].image[kept], classes[kept], prompts[rows], model.config.matryoshka_dims
        )
        results[split] = {**scores, "classes": len(chosen)}
    return results


def unmatched_groups(config: ZeroShotConfig, groups: Iterable[str]) -> list[str]:
    """Returns a sentence for each way in which a table of class names does not fit the groups."""
    if not isinstance(config.class_names, dict):
        return []
    found, named = set(groups), set(config.class_names)
    sentences = []
    for names, total, text, others in (
        (named - found, named, "groups of zero_shot.class_names are in no split", found - named),
        (found - named, found, "groups of the data have no class name and are left out", set()),
    ):
        if names:
            few = sorted(names)[:MAX_NAMED]
            such = ", ".join(shown(name) + nearest(name, others) for name in few)
            more = ", ..." if len(names) > len(few) else ""
            sentences.append(f"{len(names)} of {len(total)} {text}: {such}{more}")
    return sentences


def _names(config: ZeroShotConfig, rows: CaptionRows) -> list[str | None]:
    """Returns the class name of each group, None for a group that is left out."""
    if isinstance(config.class_names, dict):
        return [config.class_names.get(group) for group in rows.group_names]
    if config.class_names == "group":
        return list(rows.group_names)
    if config.class_names == "caption":
        return list(rows.group_captions)
    return [caption.partition(". ")[0].rstrip(".") for caption in rows.group_captions]
