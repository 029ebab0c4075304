"""One step of contrastive training over fixed logical shards, in one process or several.

All shards are embedded first, without keeping what a backward pass needs; the loss over the whole
batch then gives each embedding its gradient; and each shard is embedded once more to carry it to
the weights. Memory is that of one shard, whatever the batch. Noise is a function of (step, shard),
so both passes see the same.

Source: Gao et al. 2021, arXiv 2101.06983.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edge_glass.training.align.sharded import ContrastiveShards
from edge_glass.training.engine.processes import Processes
from edge_glass.training.engine.reduce import (
    TreeSum,
    flat_gradient,
    is_power_of_two,
    set_gradients,
    tree_sum_over_processes,
)

Embed = Callable[[int, slice], tuple[Tensor, Tensor]]
"""(shard, rows of the batch) -> image and text embeddings (n, E), with the shard's own noise."""


@dataclass(frozen=True, kw_only=True)
class ContrastiveStep:
    """What a step found: the batch's loss, and that of embeddings that tell nothing apart."""

    loss: Tensor
    chance: Tensor


class GradientCache:
    """Fills the parameters' gradients for a batch that is cut in equal logical shards.

    Args:
        parameters: all that is trained; `logit_scale` among them.
        logit_scale: () logarithm of the inverse temperature.
        batch_size: rows a step.
        num_shards: a power of two that divides the batch. Another number gives other bytes.
        recompute: embeds each shard a second time, so that only one shard's graph is in memory;
            otherwise all graphs are kept. The bytes are the same.
        processes: those that share the shards.

    Raises:
        ValueError: where the batch can't be cut so.
    """

    def __init__(
        self,
        parameters: list[Tensor],
        logit_scale: Tensor,
        *,
        batch_size: int,
        num_shards: int,
        recompute: bool,
        processes: Processes,
    ) -> None:
        if not is_power_of_two(num_shards) or batch_size % num_shards:
            raise ValueError(
                f"align.num_shards is {num_shards} and align.batch_size {batch_size}: expected a "
                "power of two that divides the batch, such as 1, 2, 4 or 8"
            )
        self.parameters, self.logit_scale = parameters, logit_scale
        self.size = batch_size // num_shards
        self.shards = processes.own_shards(num_shards)
        self.recompute, self.processes = recompute, processes

    def step(
        self, embed: Embed, terms: dict[int, float], ids: Tensor, keep_text: Tensor
    ) -> ContrastiveStep:
        """Computes the loss and leaves its gradient in each parameter's `grad`.

        Args:
            embed: gives a shard's embeddings; called twice a shard with `recompute`.
            terms: dim to weight, ascending, as `MatryoshkaLoss.terms` gives them.
            ids: (B,) equal where two rows are no negatives of each other.
            keep_text: (B,) False where text dropout took the caption.
        """
        kept: list[tuple[Tensor, Tensor]] = []
        own_embeddings: tuple[Tensor, ...] = ()
        for place, shard in enumerate(self.shards):
            with torch.set_grad_enabled(not self.recompute):
                outputs = embed(shard, self._rows(shard))
            if not self.recompute:
                kept.append(outputs)
            if not own_embeddings:
                shape = (len(self.shards) * self.size, outputs[0].shape[1])
                own_embeddings = tuple(each.new_empty(shape) for each in outputs)
            for target, output in zip(own_embeddings, outputs, strict=True):
                target[self._rows(place)] = output.detach()
        image, text = (self.processes.gather(each) for each in own_embeddings)
        contrast = ContrastiveShards(image, text, self.logit_scale, terms, ids, ids, keep_text)
        own = [contrast.partition(self._rows(shard)) for shard in self.shards]
        partition = self.processes.gather(torch.cat(own, dim=2), dim=2)
        tree = TreeSum()
        for place, shard in enumerate(self.shards):
            rows = self._rows(shard)
            outputs = embed(shard, rows) if self.recompute else kept[place]
            gradients = contrast.gradients(rows, partition)
            # logit_scale stands outside of the embeddings: its share joins as one more output
            found = torch.autograd.grad(
                [*outputs, self.logit_scale],
                self.parameters,
                [gradients.image, gradients.text, gradients.logit_scale],
                allow_unused=True,
            )
            tree.add(flat_gradient(found, self.parameters))
        set_gradients(self.parameters, tree_sum_over_processes(tree.total(), self.processes))
        return ContrastiveStep(loss=contrast.loss(partition), chance=contrast.chance())

    def _rows(self, shard: int) -> slice:
        return slice(shard * self.size, (shard + 1) * self.size)
