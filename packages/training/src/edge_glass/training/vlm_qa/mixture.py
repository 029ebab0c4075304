"""Which samples an epoch has if a model learns from questions and from captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from edge_glass.encoders.limits import check_at_least
from edge_glass.training.engine.determinism import generator

MAX_RATIO = 1000  # of two weights; an epoch has so many times as many samples


@dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """How often rows of each kind come: an image with its questions, or with its captions.

    Attributes:
        questions: weight of the rows of questions.
        captions: weight of the rows of captions, learned as answers to "Describe this image.".
    """

    questions: float = 1.0
    captions: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(self, 0, "questions", "captions")
        if not self.questions + self.captions:
            raise ValueError("questions and captions are both 0; give one of them a weight above 0")
        low, high = sorted(self.weights)
        if low and high / low > MAX_RATIO:
            raise ValueError(
                f"questions is {self.questions} and captions is {self.captions}: one is more than "
                f"{MAX_RATIO} times the other; set the smaller one to 0"
            )

    @property
    def weights(self) -> tuple[float, float]:
        """The weights in the order of the samples."""
        return self.questions, self.captions


class Mixture:
    """The samples of each epoch, from sources that lie one after the other.

    An epoch holds the first source of a positive weight once, and of every other source as many
    samples as its weight demands, at least one. These go through the source in random order, again
    and again; where an epoch begins is a function of (seed, epoch).

    Args:
        sizes: samples of each source.
        weights: one per source.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._sizes, self._seed = list(sizes), seed
        first = next(number for number, weight in enumerate(weights) if weight)
        share = sizes[first] / weights[first]
        self._counts = [
            size if number == first else max(1, round(share * weight)) if size and weight else 0
            for number, (size, weight) in enumerate(zip(sizes, weights, strict=True))
        ]
        self._first = first

    def __len__(self) -> int:
        return sum(self._counts)

    def epoch(self, number: int) -> list[int]:
        """Returns the numbers of an epoch's samples."""
        samples: list[int] = []
        start = 0
        for source, (size, count) in enumerate(zip(self._sizes, self._counts, strict=True)):
            if source == self._first:
                samples += range(start, start + size)
            elif count:
                samples += [start + each for each in self._taken(source, number * count, count)]
            start += size
        return samples

    def _taken(self, source: int, begin: int, count: int) -> list[int]:
        """Returns `count` samples of a source, from the position `begin` of its endless order."""
        size, taken = self._sizes[source], list[int]()
        for cycle in range(begin // size, (begin + count - 1) // size + 1):
            order = torch.randperm(size, generator=generator(self._seed, "mixture", source, cycle))
            low, high = max(begin - cycle * size, 0), min(begin + count - cycle * size, size)
            taken += order[low:high].tolist()
        return taken
