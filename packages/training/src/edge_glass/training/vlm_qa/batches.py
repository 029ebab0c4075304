"""Which samples a step takes and how they are cut into microbatches: functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor
from torch.utils.data import Dataset, Sampler

from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import Features, gather
from edge_glass.training.vlm_qa.mixture import Mixture
from edge_glass.training.vlm_qa.packing import (
    NO_PADDING,
    Padding,
    bucketed_batches,
    collate_questions,
)
from edge_glass.training.vlm_qa.token_arrays import PackedQuestions, TokenArrays


class BatchPlan:
    """The global batch of every step: samples of similar length, cut into equal microbatches.

    A microbatch is padded to its own longest sample, so that its numbers depend only on its own
    samples.

    Args:
        batch_size: samples per step, of all processes together.
        num_microbatches: a power of two that divides the batch.
        mixture: the samples of each epoch; None takes all of them.
        first: a number of steps before, and the mixture of their epochs.
    """

    def __init__(
        self,
        samples: TokenArrays,
        batch_size: int,
        num_microbatches: int,
        seed: int,
        *,
        mixture: Mixture | None = None,
        first: tuple[int, Mixture] | None = None,
    ) -> None:
        self.lengths: list[int] = samples.lengths.tolist()
        self.labelled: list[int] = samples.labelled.tolist()
        self.batch_size, self.num_microbatches, self.seed = batch_size, num_microbatches, seed
        self.microbatch_size = batch_size // num_microbatches
        self._mixture = mixture or Mixture([len(samples)], [1.0], seed)
        self._first = first or (0, self._mixture)
        self._epochs: dict[tuple[bool, int], list[list[int]]] = {}
        # too few samples for a batch are reported before training
        self.batch(0)
        self.batch(self._first[0])

    def batch(self, step: int) -> list[int]:
        """Returns the sample numbers of a step."""
        border, mixture = self._first
        is_first = step < border
        if not is_first:
            step, mixture = step - border, self._mixture
        epoch, index = divmod(step, max(1, len(mixture) // self.batch_size))
        if (is_first, epoch) not in self._epochs:
            # the loader reads ahead, so two epochs are in use around the border between them
            self._epochs = dict(list(self._epochs.items())[-1:])
            numbers = mixture.epoch(epoch)
            self._epochs[is_first, epoch] = [
                [numbers[place] for place in batch]
                for batch in bucketed_batches(
                    [self.lengths[number] for number in numbers],
                    self.batch_size,
                    seed=self.seed,
                    epoch=epoch,
                )
            ]
        return self._epochs[is_first, epoch][index]

    def microbatch(self, step: int, microbatch: int) -> list[int]:
        """Returns the sample numbers of one microbatch of a step."""
        return self.batch(step)[
            microbatch * self.microbatch_size : (microbatch + 1) * self.microbatch_size
        ]

    def num_labelled(self, step: int) -> int:
        """Returns the number of labelled tokens of the whole batch, which divides its loss."""
        return sum(self.labelled[sample] for sample in self.batch(step))

    def num_useful(self, step: int) -> int:
        """Returns the number of tokens of the batch without padding."""
        return sum(self.lengths[sample] for sample in self.batch(step))

    def num_padded(self, step: int, padding: Padding = NO_PADDING) -> int:
        """Returns the number of tokens of the batch with padding."""
        return sum(
            self.microbatch_size
            * padding.length(max(self.lengths[each] for each in self.microbatch(step, microbatch)))
            for microbatch in range(self.num_microbatches)
        )


class QuestionSet(Dataset[PackedQuestions]):
    """The samples by number, and how a list of them becomes a batch for the model.

    Args:
        features: (M, P, D) of the images; None leaves them out of a batch.
    """

    def __init__(
        self,
        samples: TokenArrays,
        features: Features | None,
        pad_token_id: int,
        padding: Padding = NO_PADDING,
    ) -> None:
        self.samples, self.features = samples, features
        self.pad_token_id, self.padding = pad_token_id, padding

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> PackedQuestions:
        return self.samples[index]

    def collate(self, samples: Sequence[PackedQuestions]) -> dict[str, Tensor]:
        """Returns the arguments of the model: features (n, P, D), the others (n, T)."""
        batch = collate_questions(samples, self.pad_token_id, self.padding)
        arguments = {
            "input_ids": batch.input_ids,
            "segment_ids": batch.segment_ids,
            "labels": batch.labels,
        }
        if self.features is not None:
            arguments["features"] = gather(self.features, batch.images)
        return arguments


class MicrobatchSampler(Sampler[list[int]]):
    """Yields the microbatches of the steps from `start` on, in the order that accelerate needs.

    Accelerate gives process r of n the items r, r + n, r + 2n ... of a sampler. The order here
    makes these items the process's own consecutive microbatches.

    Args:
        start: first step.
        steps: the step at which training ends.
    """

    def __init__(self, plan: BatchPlan, start: int, steps: int, processes: Processes) -> None:
        self.plan, self.start, self.steps, self.size = plan, start, steps, processes.size
        # accelerate reads these attributes of a batch sampler
        self.batch_size, self.drop_last = plan.microbatch_size, False

    def __len__(self) -> int:
        return max(0, self.steps - self.start) * self.plan.num_microbatches

    def __iter__(self) -> Iterator[list[int]]:
        each = self.plan.num_microbatches // self.size
        for step in range(self.start, self.steps):
            for index in range(each):
                for rank in range(self.size):
                    yield self.plan.microbatch(step, rank * each + index)
