"""Which samples a step takes and how they are cut in shards, functions of (seed, step) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor
from torch.utils.data import Dataset, Sampler

from edge_glass.fusion.prompt import IGNORED
from edge_glass.training.engine.processes import Processes
from edge_glass.training.engine.reduce import is_power_of_two
from edge_glass.training.features.cache import Features, gather
from edge_glass.training.vlm_qa.packing import PackedQuestions, bucketed_batches, collate_questions


class BatchPlan:
    """The global batch of every step, of samples of similar length, cut in equal logical shards.

    Args:
        samples: all there are.
        batch_size: samples a step, of all processes together.
        num_shards: a power of two that divides the batch. A shard is padded to its own longest
            sample, so that its numbers depend on nothing but itself.
        seed: of the order.

    Raises:
        ValueError: where the batch can't be cut so, or there are too few samples.
    """

    def __init__(
        self, samples: Sequence[PackedQuestions], batch_size: int, num_shards: int, seed: int
    ) -> None:
        if not is_power_of_two(num_shards) or batch_size % num_shards:
            raise ValueError(
                f"vlm_qa.num_shards is {num_shards} and vlm_qa.batch_size {batch_size}: expected a "
                "power of two that divides the batch, such as 1, 2, 4 or 8"
            )
        self.lengths = [len(sample.input_ids) for sample in samples]
        self.labelled = [sum(x != IGNORED for x in sample.labels) for sample in samples]
        self.batch_size, self.num_shards, self.seed = batch_size, num_shards, seed
        self.shard_size = batch_size // num_shards
        self._epochs: dict[int, list[list[int]]] = {}
        self.batch(0)

    def batch(self, step: int) -> list[int]:
        """Returns the sample numbers of a step."""
        epoch, place = divmod(step, max(1, len(self.lengths) // self.batch_size))
        if epoch not in self._epochs:
            # the loader reads ahead, so that two epochs are asked for around their border
            self._epochs = {old: kept for old, kept in self._epochs.items() if old == epoch - 1}
            self._epochs[epoch] = bucketed_batches(
                self.lengths, self.batch_size, seed=self.seed, epoch=epoch
            )
        return self._epochs[epoch][place]

    def shard(self, step: int, shard: int) -> list[int]:
        """Returns the sample numbers of one shard of a step."""
        return self.batch(step)[shard * self.shard_size : (shard + 1) * self.shard_size]

    def num_labelled(self, step: int) -> int:
        """Returns the labelled tokens of the whole batch, which its loss is divided by."""
        return sum(self.labelled[index] for index in self.batch(step))

    def num_useful(self, step: int) -> int:
        """Returns the tokens of the batch, padding left out."""
        return sum(self.lengths[index] for index in self.batch(step))

    def num_padded(self, step: int) -> int:
        """Returns the tokens of the batch, padding included."""
        return sum(
            self.shard_size * max(self.lengths[index] for index in self.shard(step, shard))
            for shard in range(self.num_shards)
        )


class QuestionSet(Dataset[PackedQuestions]):
    """The samples by number, and how some of them become what the model takes.

    Args:
        samples: packed questions.
        features: (M, P, D) of the pictures, memory-mapped.
        pad_token_id: of the tokenizer.
    """

    def __init__(
        self,
        samples: Sequence[PackedQuestions],
        features: Features,
        pad_token_id: int,
    ) -> None:
        self.samples, self.features, self.pad_token_id = samples, features, pad_token_id

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> PackedQuestions:
        return self.samples[index]

    def collate(self, samples: Sequence[PackedQuestions]) -> dict[str, Tensor]:
        """Returns the arguments of the model's forward: features (B, P, D), the others (B, T)."""
        batch = collate_questions(samples, self.pad_token_id)
        return {
            "features": gather(self.features, batch.images),
            "input_ids": batch.input_ids,
            "segment_ids": batch.segment_ids,
            "labels": batch.labels,
        }


class ShardSampler(Sampler[list[int]]):
    """Deals out the shards of the steps from `start` on, one a process in turn.

    Accelerate gives every process the batches whose number is its own modulo the number of
    processes. The order here makes these the process's own consecutive shards.

    Args:
        plan: what the steps hold.
        start: first step.
        steps: end of training.
        processes: those that share the shards.
    """

    def __init__(self, plan: BatchPlan, start: int, steps: int, processes: Processes) -> None:
        self.plan, self.start, self.steps, self.size = plan, start, steps, processes.size
        # what accelerate looks for in a batch sampler
        self.batch_size, self.drop_last = plan.shard_size, False

    def __len__(self) -> int:
        return max(0, self.steps - self.start) * self.plan.num_shards

    def __iter__(self) -> Iterator[list[int]]:
        each = self.plan.num_shards // self.size
        for step in range(self.start, self.steps):
            for place in range(each):
                for rank in range(self.size):
                    yield self.plan.shard(step, rank * each + place)
