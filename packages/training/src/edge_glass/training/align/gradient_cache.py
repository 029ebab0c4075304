"""One step of contrastive training over fixed microbatches, in one process or several.

All microbatches are embedded first, without keeping what a backward pass needs. The loss over the
whole batch then gives each embedding its gradient, and each microbatch is embedded once more to
carry it to the weights. Memory is that of one microbatch, whatever the batch. Noise is a function
of (step, microbatch), so both passes see the same.

Source: Gao et al. 2021, arXiv 2101.06983.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edge_glass.training.align.microbatched_loss import MicrobatchedLoss
from edge_glass.training.engine.processes import Processes
from edge_glass.training.engine.reduce import (
    TreeSum,
    filled_gradients,
    set_gradients,
    tree_sum_over_processes,
)

Embed = Callable[[int, slice], tuple[Tensor, Tensor]]
"""(microbatch, its rows of the batch) -> image and text embeddings (n, E), with its own noise."""


@dataclass(frozen=True, kw_only=True)
class ContrastiveStep:
    """The batch's loss, (), and the loss of embeddings that are all alike, ()."""

    loss: Tensor
    chance: Tensor


class GradientCache:
    """Fills the parameters' gradients for a batch that is cut into equal microbatches.

    Args:
        parameters: all that is trained; `logit_scale` is one of them.
        logit_scale: () logarithm of the inverse temperature.
        batch_size: rows per step, a multiple of `num_microbatches`.
        num_microbatches: a power of two. A different number gives different bytes.
        recompute: embeds each microbatch a second time, so that only one microbatch's graph is in
            memory; otherwise all graphs are kept. The bytes are the same.
    """

    def __init__(
        self,
        parameters: list[Tensor],
        logit_scale: Tensor,
        *,
        batch_size: int,
        num_microbatches: int,
        recompute: bool,
        processes: Processes,
    ) -> None:
        self.parameters, self.logit_scale = parameters, logit_scale
        self.size = batch_size // num_microbatches
        self.microbatches = processes.own_microbatches(num_microbatches)
        self.recompute, self.processes = recompute, processes

    def step(
        self, embed: Embed, terms: dict[int, float], groups: Tensor, keep_text: Tensor
    ) -> ContrastiveStep:
        """Computes the loss and leaves its gradient in each parameter's `grad`.

        Args:
            embed: returns a microbatch's embeddings; called twice for each with `recompute`.
            terms: dim to weight, ascending, as `MatryoshkaTerms.at` returns them.
            groups: (B,) or (B, G); two rows that have a number in common, in the same column, are
                not negatives of each other.
            keep_text: (B,) False if the row's caption is dropped.
        """
        # embed this process's microbatches, then gather the embeddings of the whole batch
        kept: list[tuple[Tensor, Tensor]] = []
        own_embeddings: tuple[Tensor, ...] = ()
        for index, microbatch in enumerate(self.microbatches):
            with torch.set_grad_enabled(not self.recompute):
                outputs = embed(microbatch, self._rows(microbatch))  # (n, E), (n, E)
            if not self.recompute:
                kept.append(outputs)
            if not own_embeddings:
                shape = (len(self.microbatches) * self.size, outputs[0].shape[1])
                own_embeddings = tuple(each.new_empty(shape) for each in outputs)
            for target, output in zip(own_embeddings, outputs, strict=True):
                target[self._rows(index)] = output.detach()
        image, text = (self.processes.gather(each) for each in own_embeddings)  # (B, E), (B, E)

        # find each row's softmax denominators against the whole batch
        contrast = MicrobatchedLoss(image, text, self.logit_scale, terms, groups, keep_text)
        own = [contrast.partition(self._rows(microbatch)) for microbatch in self.microbatches]
        partition = self.processes.gather(torch.cat(own, dim=2), dim=2)  # (3, dims, B)

        # carry the gradients of the embeddings to the weights, and sum over microbatches in a tree
        tree = TreeSum()
        for index, microbatch in enumerate(self.microbatches):
            rows = self._rows(microbatch)
            outputs = embed(microbatch, rows) if self.recompute else kept[index]
            gradients = contrast.gradients(rows, partition)
            # the embeddings do not depend on logit_scale: its gradient enters as a third output
            found = torch.autograd.grad(
                [*outputs, self.logit_scale],
                self.parameters,
                [gradients.image, gradients.text, gradients.logit_scale],
                allow_unused=True,
            )
            tree.add(filled_gradients(found, self.parameters))
        set_gradients(self.parameters, tree_sum_over_processes(tree.total(), self.processes))
        return ContrastiveStep(loss=contrast.loss(partition), chance=contrast.chance())

    def _rows(self, microbatch: int) -> slice:
        return slice(microbatch * self.size, (microbatch + 1) * self.size)
