"""What `vlm_qa` trains on: packed questions, and captions if the configuration uses them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_glass.encoders.files import DataError
from edge_glass.training.features.cache import (
    FeatureIndex,
    Features,
    prepared_rows,
    vision_features,
)
from edge_glass.training.features.live import LiveFeatures
from edge_glass.training.folders import PREPARED
from edge_glass.training.runtime.progress import say
from edge_glass.training.vlm_qa.conversations import has_conversations
from edge_glass.training.vlm_qa.descriptions import describing_rows
from edge_glass.training.vlm_qa.packing import PackedQuestions, pack_questions

if TYPE_CHECKING:
    from edge_glass.training.params import Params


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The samples of the training split.

    Attributes:
        tokenizer: built from the texts, or the decoder's own.
        samples: packed questions, then packed captions.
        sizes: how many samples are questions, and how many are captions.
        features: (M, P, D) that `PackedQuestions.image` counts.
        num_learned: questions and captions that are learned.
        conversations: whether any question follows an earlier one.
    """

    tokenizer: Any
    samples: list[PackedQuestions]
    sizes: tuple[int, int]
    features: Features
    num_learned: int
    conversations: bool

    @property
    def live_features(self) -> list[LiveFeatures]:
        """The parts of `features` that are encoded as training runs, none if they are cached."""
        features = self.features
        parts = features.parts if isinstance(features, JoinedFeatures) else (features,)
        return [each for each in parts if isinstance(each, LiveFeatures)]


class JoinedFeatures:
    """The features of two sub-sets as one array: the rows of the second follow the first's."""

    def __init__(self, first: Features, second: Features) -> None:
        self._first, self._second = first, second

    @property
    def parts(self) -> tuple[Features, Features]:
        """The two arrays."""
        return self._first, self._second

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._first.shape[1:])

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, rows: Any) -> Any:
        numbers = np.asarray(rows)
        later = numbers >= len(self._first)
        found = np.empty((len(numbers), *self._first.shape[1:]), self._first[:1].dtype)
        found[~later] = self._first[numbers[~later]]
        found[later] = self._second[numbers[later] - len(self._first)]
        return found


def read_training_data(params: Params, index: FeatureIndex) -> TrainingData:
    """Reads and packs the training split.

    Raises:
        DataError: if captions are used, and their images were encoded to a different grid.
    """
    config = params.vlm_qa
    rows = prepared_rows("questions", "train", PREPARED)
    captions: list[dict[str, Any]] = []
    if config.uses_captions:
        if index.grids["captions"] != index.grids["questions"]:
            raise DataError(
                f"captions have a grid of {index.grids['captions']} patches and questions of "
                f"{index.grids['questions']}, but vlm_qa.{params.scale} uses both: give "
                f"encode.{params.scale} equal caption_image_size and question_image_size"
            )
        captions = describing_rows(prepared_rows("captions", "train", PREPARED), params.seed)
    texts = [text for row in (*rows, *captions) for text in (row["question"], row["answer"])]
    tokenizer = params.decoder.config.build_tokenizer(filter(None, texts))

    def packed(kind: str, rows: list[dict[str, Any]]) -> tuple[list[PackedQuestions], int]:
        samples, skipped = pack_questions(rows, tokenizer, config.max_questions, config.max_length)
        for reason, count in sorted(skipped.items()):
            say(f"vlm_qa: {count} of {len(rows)} {kind} left out: {reason}")
        return samples, len(rows) - skipped.total()

    samples, num_learned = packed("questions", rows)
    sizes = len(samples), 0
    features: Features = vision_features("questions", "train")
    if captions:
        first, (more, number) = len(features), packed("captions", captions)
        features = JoinedFeatures(features, vision_features("captions", "train"))
        samples += [replace(sample, image=first + sample.image) for sample in more]
        sizes, num_learned = (sizes[0], len(more)), num_learned + number
    return TrainingData(
        tokenizer=tokenizer,
        samples=samples,
        sizes=sizes,
        features=features,
        num_learned=num_learned,
        conversations=has_conversations(rows),
    )
