"""What `align` trains on: pairs of an image and its captions, and recycled classes.

A class of the vision encoder's own classifier joins the pairs with its row of the classifier in
place of an image, and with texts that describe it in place of captions. The row takes the place of
the pooled tokens, so that it passes through the image head and its dropout.

Source of the classes: classifier-weight recycling, arXiv 2605.22484.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch
from einops import repeat
from torch import Tensor

from edge_glass.encoders.components import ConfigError
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.files import DataError
from edge_glass.encoders.towers.classifier import ClassifierRows
from edge_glass.encoders.towers.grid_average import with_grid
from edge_glass.training.align.config import AlignConfig
from edge_glass.training.engine.order import fitted_batch_size, step_batch
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import CLASSES, FeatureIndex, text_features
from edge_glass.training.features.captions import CaptionRows, caption_rows
from edge_glass.training.folders import PREPARED
from edge_glass.training.runtime.canonical_caption import canonical_caption
from edge_glass.training.runtime.progress import say
from edge_glass.training.runtime.split_names import TRAIN

if TYPE_CHECKING:
    from edge_glass.training.params import Params


@dataclass(frozen=True, kw_only=True)
class TrainingPairs:
    """The pairs of split train, and which of them a step has.

    Attributes:
        rows: M rows with an image, and behind them the classes: row M + c is class c.
        class_rows: (C, D) of the classifier; None if no class is recycled.
        config: with a batch that the pairs can fill.
        seed: of the order.
    """

    rows: CaptionRows
    class_rows: Tensor | None
    config: AlignConfig
    seed: int

    def check_model(self, model: DualEncoder) -> None:
        """Checks that a pooled token has the numbers of a patch token, as a classifier's row has.

        Raises:
            ConfigError: if the pooling has a different width.
        """
        if self.class_rows is not None and model.pooling.width != self.class_rows.shape[1]:
            raise ConfigError(
                f"params.yaml: align.recycle needs visual tokens of width "
                f"{self.class_rows.shape[1]}, as the vision encoder gives them, but those of "
                f"pooling {model.config.pooling.name} have width {model.pooling.width}: set its "
                "width to null, or recycle to 0"
            )

    @property
    def num_images(self) -> int:
        """M, the rows with an image."""
        return len(self.rows.images)

    def batch(self, step: int) -> Tensor:
        """Returns the rows of a step, (B,): in each microbatch images first, then classes."""
        recycled = self.config.recycle
        size = self.config.batch_size - recycled
        images = step_batch(self.num_images, size, seed=self.seed, step=step)
        if self.class_rows is None:
            return images
        classes = step_batch(len(self.class_rows), recycled, seed=self.seed, step=step)
        parts = images, self.num_images + classes
        count = self.config.num_microbatches
        return torch.cat([part.reshape(count, -1) for part in parts], dim=1).flatten()

    def images(self, rows: Tensor) -> Tensor:
        """Returns the image of each of `rows` that has one, as the row of its features."""
        return self.rows.images[rows[rows < self.num_images]]

    def head_inputs(self, model: DualEncoder, rows: Tensor, features: Tensor) -> Tensor:
        """Returns what the image head reads for `rows`, (n, D): pooled images, then classes.

        `features` (i, P, D) are those of the rows that have an image.
        """
        pooled = model.reduce(model.pool(features))
        if self.class_rows is None:
            return pooled
        classes = self.class_rows[rows[rows >= self.num_images] - self.num_images]  # (c, D)
        tokens = repeat(classes, "c d -> c n d", n=model.pooling.num_tokens)
        return torch.cat([pooled, model.reduce(tokens).to(pooled)])

    def own_images(self, processes: Processes, first: int) -> Iterator[list[int]]:
        """Yields the images of each microbatch of this process, from step `first` on.

        Of microbatches of a step with the same images, which several captions of an image can give,
        only the first is there: `LiveTrainingFeatures` encodes them once.
        """
        size = self.config.batch_size // self.config.num_microbatches
        for step in range(first, self.config.steps):
            parts = self.batch(step).split(size)
            own = processes.own_microbatches(self.config.num_microbatches)
            images = (tuple(self.images(parts[number]).tolist()) for number in own)
            yield from map(list, dict.fromkeys(images))


def training_pairs(params: Params, index: FeatureIndex) -> TrainingPairs:
    """Reads the pairs of split train, and the classes if `align.recycle` asks for some."""
    rows = caption_rows(TRAIN, PREPARED)
    classes = recycled_classes(params, index)
    config = params.align if classes else dataclasses.replace(params.align, recycle=0)
    config = fitted_config(config, rows)
    if classes is None:
        return TrainingPairs(rows=rows, class_rows=None, config=config, seed=params.seed)
    return TrainingPairs(
        rows=with_classes(rows, classes),
        class_rows=classes.tokens,
        config=config,
        seed=params.seed,
    )


def check_recycle(recycle: int, num_classes: int) -> None:
    """Checks that a step does not have more classes than there are."""
    if recycle > num_classes:
        raise ConfigError(
            f"params.yaml: align.recycle is {recycle}, expected at most the {num_classes} classes "
            "of the vision encoder; lower it"
        )


def recycled_classes(params: Params, index: FeatureIndex) -> ClassifierRows | None:
    """Returns the vision encoder's classes if `align.recycle` asks for some and they have texts."""
    if not params.align.recycle:
        return None
    if CLASSES in index.texts_sha256:
        encoder = params.vision_encoder.config.build(image_size=index.image_sizes["captions"])
        rows: ClassifierRows | None = with_grid(encoder, index.grids["captions"]).classifier_rows()
        if rows is not None:
            check_recycle(params.align.recycle, len(rows.tokens))
            return rows
    say(
        f"align: recycle is {params.align.recycle}, but the features hold no classes of "
        f"{params.vision_encoder.name}: it has no classifier, or encode.classifier_texts is false; "
        "going on without"
    )
    return None


def with_classes(rows: CaptionRows, classes: ClassifierRows) -> CaptionRows:
    """Returns the training rows with the classes behind them.

    A class is a group of its own, and a text that equals a caption shares its number. `images` and
    what only images have stay those of the M rows.
    """
    (captions, _), (index, features) = text_features(TRAIN), text_features(CLASSES)
    forms: dict[str, int] = {}
    every = chain(captions, index)
    text_numbers = [forms.setdefault(canonical_caption(text), len(forms)) for text in every]
    offset = len(rows.features)
    texts = [torch.tensor([offset + index[text] for text in each]) for each in classes.texts]
    numbers = len(rows.group_names) + torch.arange(len(texts))
    return dataclasses.replace(
        rows,
        groups=torch.cat([rows.groups, numbers]),
        texts=[*rows.texts, *texts],
        features=torch.cat([rows.features, features]),
        text_numbers=torch.tensor(text_numbers),
    )


def fitted_config(config: AlignConfig, rows: CaptionRows) -> AlignConfig:
    """Returns the config with a batch that the training pairs can fill.

    Raises:
        DataError: if no pair is a negative of a different one, so that there is nothing to learn.
    """
    if len(rows.group_names) < 2:
        raise DataError(
            f"{PREPARED}/captions/train.rows.parquet: all {len(rows.captions)} captions belong to "
            f"one group, such as {rows.captions[0][:60]!r}; expected different captions, or "
            "concepts, to tell apart: check the columns caption and concept of the data"
        )
    size = config.recycle + fitted_batch_size(
        config.batch_size - config.recycle, config.num_microbatches, len(rows.captions), "align"
    )
    if size < config.batch_size:
        say(
            f"align: batch_size is {size} in place of {config.batch_size}, because there are only "
            f"{len(rows.captions)} training pairs"
        )
    return dataclasses.replace(config, batch_size=size)
