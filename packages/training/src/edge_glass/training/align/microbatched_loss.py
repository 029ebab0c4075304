"""The loss of `contrastive.py` and its gradients for a large batch, a microbatch of rows at a time.

Two passes over the similarities make the gradients of a microbatch's embeddings complete, so that
no gradient is summed over microbatches here. The first pass finds the log-partition of each row
(the softmax's denominator) in both directions. The second pass turns them into gradients. The
numbers of a microbatch are therefore the same in whichever process computes them, and memory grows
with (rows of a microbatch) x (batch), never with (batch) x (batch).

All dims share one pass: the dot products of dim d are the first part of the sums of every larger
dim, so one matrix of dot products grows block by block from the smallest dim to the largest.

Source of the idea: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory
Limited Setup", arXiv 2101.06983.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_SMALLEST_SQUARED_NORM = 1e-24  # as torch.nn.functional.normalize: norms below 1e-12 count as 1e-12
_NORM_ROWS = 1024  # rows whose squares are held in float64 at once


@dataclass(frozen=True, kw_only=True)
class MicrobatchGradients:
    """What a microbatch adds to the gradient.

    Attributes:
        image: (n, E) with respect to the microbatch's image embeddings; complete.
        text: (n, E) with respect to the microbatch's text embeddings; complete.
        logit_scale: () the microbatch's part; the parts of all microbatches add up.
    """

    image: Tensor
    text: Tensor
    logit_scale: Tensor


class MicrobatchedLoss:
    """`matryoshka_loss` over the embeddings of one batch, with its gradients.

    Args:
        image: (B, E) embeddings of the whole batch, not normalised.
        text: (B, E) likewise.
        logit_scale: () logarithm of the inverse temperature.
        terms: dim to weight, ascending, as `MatryoshkaTerms.at` returns them.
        groups: (B,) or (B, G); two rows that have a number in common, in the same column, are not
            negatives of each other.
        keep_text: (B,) False if the row's caption is dropped.
    """

    def __init__(
        self,
        image: Tensor,
        text: Tensor,
        logit_scale: Tensor,
        terms: Mapping[int, float],
        groups: Tensor,
        keep_text: Tensor,
    ) -> None:
        if image.ndim != 2 or image.shape != text.shape or image.shape[1] < max(terms):
            raise ValueError(
                f"image is {tuple(image.shape)} and text {tuple(text.shape)}; expected (batch, "
                f"{max(terms)} or more) of both, with equal shapes"
            )
        self.image, self.text = image.detach(), text.detach()
        self.scale = logit_scale.detach().to(self.image.dtype).exp()
        self.terms = dict(terms)
        self.groups = groups.reshape(len(groups), -1)  # (B, G)
        self.dropped = ~keep_text.bool()
        self.weights = keep_text.to(self.image.dtype) / keep_text.sum().clamp_min(1)  # (B,)
        self.image_norms = self._inverse_norms(self.image)
        self.text_norms = self._inverse_norms(self.text)

    def partition(self, rows: slice) -> Tensor:
        """Returns (3, dims, n): the rows' log-partitions in both directions, and their own logits.

        The other methods take the results of all microbatches, concatenated along the last axis.
        """
        same, dropped = self._masks(rows)
        by_image = self._log_partitions(
            self.image[rows], self.text, self.image_norms[:, rows], self.text_norms,
            same | dropped, rows,
        )  # fmt: skip
        by_text = self._log_partitions(
            self.text[rows], self.image, self.text_norms[:, rows], self.image_norms, same, rows
        )
        return torch.stack([by_image[0], by_text[0], by_image[1]])

    def loss(self, partition: Tensor) -> Tensor:
        """Returns the whole batch's loss, (), from all rows' `partition` (3, dims, B)."""
        image_to_text, text_to_image, own = partition
        rows = (image_to_text + text_to_image - 2 * own) * (self.weights * 0.5)
        weights = rows.new_tensor(list(self.terms.values()))
        total: Tensor = (rows.sum(dim=1) * weights).sum()
        return total

    def chance(self) -> Tensor:
        """Returns the loss of embeddings that are all alike, (): the mean of ln(candidates)."""
        total = self.weights.new_zeros(())
        for start in range(0, len(self.weights), _NORM_ROWS):
            rows = slice(start, start + _NORM_ROWS)
            same, dropped = self._masks(rows)
            for masked in (same | dropped, same):
                counts = (~masked).sum(dim=1).to(total.dtype)
                total = total + (counts.log() * self.weights[rows] * 0.5).sum()
        return total * sum(self.terms.values())

    def gradients(self, rows: slice, partition: Tensor) -> MicrobatchGradients:
        """Returns the gradients of the rows' embeddings, given all rows' `partition`."""
        same, dropped = self._masks(rows)
        image_to_text, text_to_image, _ = partition
        image, logit_scale = self._gradient(
            self.image[rows], self.text, self.image_norms[:, rows], self.text_norms,
            image_to_text, text_to_image, same | dropped, rows,
        )  # fmt: skip
        text_masked = same | self.dropped[rows, None]
        self._own(text_masked, rows).fill_(False)
        text, _ = self._gradient(
            self.text[rows], self.image, self.text_norms[:, rows], self.image_norms,
            text_to_image, image_to_text, text_masked, rows,
        )  # fmt: skip
        return MicrobatchGradients(image=image, text=text, logit_scale=logit_scale)

    def _log_partitions(
        self,
        queries: Tensor,
        candidates: Tensor,
        query_norms: Tensor,
        candidate_norms: Tensor,
        masked: Tensor,
        rows: slice,
    ) -> tuple[Tensor, Tensor]:
        partitions, own = [], []
        for _, _, logits in self._logits(queries, candidates, query_norms, candidate_norms):
            own.append(self._own(logits, rows).clone())
            logits.masked_fill_(masked, -torch.inf)
            shift = logits.amax(dim=1, keepdim=True)
            partitions.append(logits.sub_(shift).exp_().sum(dim=1).log() + shift[:, 0])
        return torch.stack(partitions), torch.stack(own)

    def _gradient(
        self,
        queries: Tensor,
        candidates: Tensor,
        query_norms: Tensor,
        candidate_norms: Tensor,
        query_partition: Tensor,
        candidate_partition: Tensor,
        masked: Tensor,
        rows: slice,
    ) -> tuple[Tensor, Tensor]:
        """Returns the gradients by the queries, from both directions, and by `logit_scale`."""
        steps: list[tuple[Tensor, Tensor]] = []
        scale_gradient = queries.new_zeros(())
        half = self.weights * 0.5
        both = self._logits(queries, candidates, query_norms, candidate_norms)
        for index, (weight, dots, logits) in enumerate(both):
            logits.masked_fill_(masked, -torch.inf)
            share = (logits - query_partition[index, rows, None]).exp_().mul_(half[rows, None])
            share += logits.sub_(candidate_partition[index]).exp_().mul_(half)
            self._own(share, rows).sub_(self.weights[rows])
            by_dots = share.mul_(self.scale * weight * query_norms[index, :, None])
            by_dots.mul_(candidate_norms[index])
            moved = (by_dots * dots).sum(dim=1)
            scale_gradient = scale_gradient + moved.sum()
            steps.append((by_dots, -moved * query_norms[index].square()))
        gradient = torch.zeros_like(queries)
        dims = list(self.terms)
        total, by_norm = torch.zeros_like(steps[0][0]), torch.zeros_like(steps[0][1])
        while steps:  # from the largest dim down: a block of numbers is part of every larger dim
            part, part_norm = steps.pop()
            total, by_norm = total.add_(part), by_norm + part_norm
            block = slice(dims[len(steps) - 1] if steps else 0, dims[len(steps)])
            gradient[:, block] = torch.addcmul(
                total @ candidates[:, block], queries[:, block], by_norm[:, None]
            )
        return gradient, scale_gradient

    def _logits(
        self, queries: Tensor, candidates: Tensor, query_norms: Tensor, candidate_norms: Tensor
    ) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Yields (weight, dot products so far, logits) per dim, ascending.

        The caller may change the logits, but not the dot products.
        """
        dots = queries.new_zeros(len(queries), len(candidates))
        start = 0
        for index, (dim, weight) in enumerate(self.terms.items()):
            dots.addmm_(queries[:, start:dim], candidates[:, start:dim].T)
            logits = dots * (self.scale * query_norms[index])[:, None]
            yield weight, dots, logits.mul_(candidate_norms[index])
            start = dim

    def _masks(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns two (n, B) masks without the rows' own pairs: same group, dropped captions."""
        dropped = self.dropped.expand(len(self.dropped[rows]), -1).clone()
        same = torch.zeros_like(dropped)
        for numbers in self.groups.unbind(dim=1):
            same |= numbers[rows, None] == numbers
        self._own(same, rows).fill_(False)
        self._own(dropped, rows).fill_(False)
        return same, dropped

    @staticmethod
    def _own(matrix: Tensor, rows: slice) -> Tensor:
        """Returns a view of the entries (i, i) of the batch that are in these rows of it."""
        return matrix.diagonal(offset=rows.start)

    def _inverse_norms(self, embeddings: Tensor) -> Tensor:
        """Returns (dims, B). In float64, whose root is exact on every CPU; float32's is not."""
        parts = []
        for chunk in embeddings.split(_NORM_ROWS):
            squared, start, norms = chunk.new_zeros(len(chunk), dtype=torch.float64), 0, []
            for dim in self.terms:
                squared = squared + chunk[:, start:dim].double().square().sum(dim=1)
                norms.append(squared.clamp_min(_SMALLEST_SQUARED_NORM).rsqrt())
                start = dim
            parts.append(torch.stack(norms))
        return torch.cat(parts, dim=1).to(embeddings.dtype)
