"""How the stage `evaluate_align` measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_glass.encoders.limits import check_at_least

PLACE = "{}"  # of the class name in a template


@dataclass(frozen=True, kw_only=True)
class ZeroShotConfig:
    """Zero-shot classification: an image chooses among the names of classes.

    Attributes:
        class_names: what names the class of a group of images: "group" (the group's own name),
            "caption" (its canonical caption), "first_sentence" (of that caption), or a table from
            groups to names. Groups that a table lacks are left out.
        templates: prompts; "{}" stands for the class name. Their embeddings are averaged.
        data: the data set that names and templates are made for; others are not classified. None
            classifies any.
    """

    class_names: Literal["group", "caption", "first_sentence"] | dict[str, str]
    templates: tuple[str, ...] = (PLACE,)
    data: str | None = None

    def __post_init__(self) -> None:
        check_templates(self.templates)
        if not self.class_names or (
            isinstance(self.class_names, dict) and not all(self.class_names.values())
        ):
            raise ValueError(f"class_names is {self.class_names}, expected names, none empty")


def check_templates(templates: tuple[str, ...]) -> None:
    """Checks that there are templates and that each has one place for the class name."""
    wrong = [template for template in templates if template.count(PLACE) != 1]
    if wrong or not templates:
        raise ValueError(
            f"templates are {list(templates)}, expected one or more texts with one {PLACE} each, "
            f'such as "a photo of a {PLACE}."'
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateAlignConfig:
    """How retrieval is measured.

    Attributes:
        ks: the k of Recall@k.
        block_size: rows and columns of scores in memory at a time; changes no result.
        bootstrap_samples: resamples per confidence interval.
        tsne_points: at most so many images, and their captions, in a map of the shared space.
        zero_shot: None leaves zero-shot classification out.
    """

    ks: tuple[int, ...]
    block_size: int
    bootstrap_samples: int
    tsne_points: int
    zero_shot: ZeroShotConfig | None = None

    def __post_init__(self) -> None:
        check_at_least(self, 1, "block_size", "bootstrap_samples", "tsne_points")
        if not self.ks or min(self.ks) < 1:
            raise ValueError(
                f"ks is {list(self.ks)}, expected numbers of 1 or more, such as [1, 5]"
            )
