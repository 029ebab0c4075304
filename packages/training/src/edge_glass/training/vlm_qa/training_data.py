"""What `vlm_qa` trains on: packed questions, and captions if the configuration uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_glass.encoders.files import DataError
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import FeatureIndex, Features, vision_features
from edge_glass.training.features.live import LiveFeatures
from edge_glass.training.runtime.progress import say
from edge_glass.training.vlm_qa.token_arrays import TokenArrays
from edge_glass.training.vlm_qa.token_store import stored_tokens, tokenizer_mark
from edge_glass.training.vlm_qa.training_texts import TrainingTexts

if TYPE_CHECKING:
    from edge_glass.training.params import Params


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The samples of the training split.

    Attributes:
        tokenizer: built from the texts, or the decoder's own.
        samples: packed questions, then packed captions.
        sizes: how many samples are questions, and how many are captions.
        features: (M, P, D); `samples.images` are rows of it.
        num_learned: questions and captions that are learned.
        conversations: whether any question follows an earlier one.
    """

    tokenizer: Any
    samples: TokenArrays
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


def read_training_data(params: Params, index: FeatureIndex, processes: Processes) -> TrainingData:
    """Opens the training split, which is tokenised and packed once, by the first process.

    Raises:
        DataError: if captions are used, and their images were encoded to a different grid.
    """
    config = params.vlm_qa
    if config.uses_captions and index.grids["captions"] != index.grids["questions"]:
        raise DataError(
            f"captions have a grid of {index.grids['captions']} patches and questions of "
            f"{index.grids['questions']}, but vlm_qa.{params.scale} uses both: give "
            f"encode.{params.scale} equal caption_image_size and question_image_size"
        )
    texts = TrainingTexts(
        seed=params.seed,
        uses_captions=config.uses_captions,
        knows_captions=config.visual_tokens.aligned_dim > 0,
    )
    tokenizer = params.decoder.config.build_tokenizer(texts.words())
    features: Features = vision_features("questions", "train")
    num_images = len(features)
    if config.uses_captions:
        features = JoinedFeatures(features, vision_features("captions", "train"))
    limits = {"max_questions": config.max_questions, "max_length": config.max_length}
    key = {**limits, "num_images": num_images, "tokenizer": tokenizer_mark(tokenizer)}
    samples, facts = stored_tokens(
        key | texts.mark(), lambda: texts.packed(tokenizer, num_images, **limits), processes
    )
    for line in facts.left_out:
        say(f"vlm_qa: {line}")
    return TrainingData(
        tokenizer=tokenizer,
        samples=samples,
        sizes=facts.sizes,
        features=features,
        num_learned=facts.num_learned,
        conversations=facts.conversations,
    )
