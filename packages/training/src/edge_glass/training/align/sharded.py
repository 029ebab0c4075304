"""The contrastive loss of a large batch, a logical shard of rows at a time.

What is unusual: no gradient is summed over shards. Two passes over the similarities make a shard's
gradients complete by themselves: the first finds each row's log-partition (the softmax's
denominator) in both directions, the second turns them into the gradients of the shard's own
embeddings. A shard's numbers are therefore the same whichever process works on it, and memory grows
with (rows of a shard) x (batch), never with (batch) x (batch).

Source of the idea: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory
Limited Setup" (arXiv 2101.06983); the dims in one pass are those of `incremental.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from edge_glass.training.align.contrastive import in_full_precision

_SMALLEST_SQUARED_NORM = 1e-24  # as torch.nn.functional.normalize: norms below 1e-12 count as 1e-12
_NORM_ROWS = 1024  # rows whose squares are held in float64 at once


@dataclass(frozen=True, kw_only=True)
class ShardGradients:
    """What a shard adds to the gradient.

    Attributes:
        image: (n, E) by the shard's image embeddings, complete.
        text: (n, E) by the shard's text embeddings, complete.
        logit_scale: () the shard's share; the shares of all shards add up.
    """

    image: Tensor
    text: Tensor
    logit_scale: Tensor


class ContrastiveShards:
    """Symmetric InfoNCE at several nested dims over one batch's embeddings.

    The definition is that of `MatryoshkaLoss`: equal ids are neither positives nor negatives, and a
    dropped caption is no query and no candidate.

    Args:
        image: (B, E) embeddings of the whole batch, not normalised.
        text: (B, E) likewise.
        logit_scale: () logarithm of the inverse temperature.
        terms: dim to weight, ascending, as `MatryoshkaLoss.terms` gives them.
        image_ids: (B,) equal where two pictures are no negatives of each other.
        text_ids: (B,) equal where two rows have one caption.
        keep_text: (B,) False where text dropout took the caption.
    """

    def __init__(
        self,
        image: Tensor,
        text: Tensor,
        logit_scale: Tensor,
        terms: Mapping[int, float],
        image_ids: Tensor,
        text_ids: Tensor,
        keep_text: Tensor,
    ) -> None:
        if image.ndim != 2 or image.shape != text.shape or image.shape[1] < max(terms):
            raise ValueError(
                f"image is {tuple(image.shape)} and text {tuple(text.shape)}; expected (batch, "
                f"{max(terms)} or more) of both, with equal shapes"
            )
        self.image, self.text = in_full_precision(image.detach()), in_full_precision(text.detach())
        self.scale = logit_scale.detach().to(self.image.dtype).exp()
        self.terms = dict(terms)
        self.image_ids, self.text_ids = image_ids, text_ids
        self.dropped = ~keep_text.bool()
        self.weights = keep_text.to(self.image.dtype) / keep_text.sum().clamp_min(1)  # (B,)
        self.image_norms = self._inverse_norms(self.image)
        self.text_norms = self._inverse_norms(self.text)

    def partition(self, rows: slice) -> Tensor:
        """Returns the rows' (3, dims, n): log-partitions image to text, text to image, own logit.

        The shards' results, put together along the last axis, are what the other methods take.
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
        """Returns the loss of embeddings that tell nothing apart: the mean of ln(candidates)."""
        total = self.weights.new_zeros(())
        for start in range(0, len(self.weights), _NORM_ROWS):
            rows = slice(start, start + _NORM_ROWS)
            same, dropped = self._masks(rows)
            for masked in (same | dropped, same):
                counts = (~masked).sum(dim=1).to(total.dtype)
                total = total + (counts.log() * self.weights[rows] * 0.5).sum()
        return total * sum(self.terms.values())

    def gradients(self, rows: slice, partition: Tensor) -> ShardGradients:
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
        return ShardGradients(image=image, text=text, logit_scale=logit_scale)

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
        """Returns the gradients by the queries, of both directions, and by logit_scale."""
        steps: list[tuple[Tensor, Tensor]] = []
        scale_gradient = queries.new_zeros(())
        half = self.weights * 0.5
        both = self._logits(queries, candidates, query_norms, candidate_norms)
        for place, (weight, dots, logits) in enumerate(both):
            logits.masked_fill_(masked, -torch.inf)
            share = (logits - query_partition[place, rows, None]).exp_().mul_(half[rows, None])
            share += logits.sub_(candidate_partition[place]).exp_().mul_(half)
            self._own(share, rows).sub_(self.weights[rows])
            by_dots = share.mul_(self.scale * weight * query_norms[place, :, None])
            by_dots.mul_(candidate_norms[place])
            moved = (by_dots * dots).sum(dim=1)
            scale_gradient = scale_gradient + moved.sum()
            steps.append((by_dots, -moved * query_norms[place].square()))
        gradient = torch.zeros_like(queries)
        dims = list(self.terms)
        total, by_norm = torch.zeros_like(steps[0][0]), torch.zeros_like(steps[0][1])
        while steps:  # from the largest dim down: a block of numbers is in every dim above it
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
        """Yields (weight, dot products so far, logits) a dim, ascending; logits may be changed."""
        dots = queries.new_zeros(len(queries), len(candidates))
        start = 0
        for place, (dim, weight) in enumerate(self.terms.items()):
            dots.addmm_(queries[:, start:dim], candidates[:, start:dim].T)
            logits = dots * (self.scale * query_norms[place])[:, None]
            yield weight, dots, logits.mul_(candidate_norms[place])
            start = dim

    def _masks(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns (n, B): pairs that are no negatives, and dropped captions; never a row's own."""
        same = (self.image_ids[rows, None] == self.image_ids) | (
            self.text_ids[rows, None] == self.text_ids
        )
        dropped = self.dropped.expand_as(same).clone()
        self._own(same, rows).fill_(False)
        self._own(dropped, rows).fill_(False)
        return same, dropped

    @staticmethod
    def _own(matrix: Tensor, rows: slice) -> Tensor:
        """Returns a view of the entries (i, i) of the batch that lie in the shard's rows."""
        return matrix.diagonal(offset=rows.start)

    def _inverse_norms(self, embeddings: Tensor) -> Tensor:
        """Returns (dims, B). In float64: its root is exact on every CPU, a float32 one is not."""
        parts = []
        for chunk in embeddings.split(_NORM_ROWS):
            squared, start, norms = chunk.new_zeros(len(chunk), dtype=torch.float64), 0, []
            for dim in self.terms:
                squared = squared + chunk[:, start:dim].double().square().sum(dim=1)
                norms.append(squared.clamp_min(_SMALLEST_SQUARED_NORM).rsqrt())
                start = dim
            parts.append(torch.stack(norms))
        return torch.cat(parts, dim=1).to(embeddings.dtype)
