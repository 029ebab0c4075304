"""Symmetric InfoNCE at several nested dimensions in one pass over the embeddings.

What is unusual: the similarity at dimension ``d`` shares its first numbers with every smaller
dimension. So one matrix S of raw dot products grows block by block, S += image[:, a:b] @ text[:,
a:b].T, and with it the squared norms; the cosine at each dimension is S divided by the norms so
far. Backward runs the other way: from the largest dimension down, dS accumulates, and each block of
the embeddings is multiplied once. All dimensions together cost the matrix products of the largest
one. The gradient of S is formed while the logits are at hand, so that no logits are kept.

Both directions read the same S when the queries are the whole batch. When they are a slice of it (a
logical shard), the slice's images meet all texts and the slice's texts meet all images; the slices'
losses add up to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_SMALLEST_SQUARED_NORM = 1e-24  # as torch.nn.functional.normalize: norms below 1e-12 count as 1e-12


def incremental_info_nce(
    image: Tensor,
    text: Tensor,
    scale: Tensor,
    dims: Sequence[int],
    weights: Sequence[float],
    masked: Tensor,
    row_weights: Tensor,
    query_offset: int = 0,
) -> Tensor:
    """Return the weighted sum over ``dims`` of both directions' cross entropies.

    Args:
        image: (B, D) embeddings, not normalised.
        text: (B, D) embeddings, not normalised.
        scale: () inverse temperature (not its logarithm).
        dims: ascending, each at most D.
        weights: one a dim.
        masked: (n, B) bool; True where image ``query_offset + i`` and text j, or the other way
            round, are neither a positive pair nor negatives. Never True for a row's own pair.
        row_weights: (B,) what each row's cross entropy counts for in the sum (each direction takes
            a half of it). A row of weight 0 is no query, and its *text* is no candidate either; its
            image is.
        query_offset: first row of the slice of n rows that asks.

    Returns:
        () loss, in the embeddings' dtype; differentiable in image, text and scale.
    """
    loss: Tensor = _IncrementalInfoNCE.apply(  # type: ignore[no-untyped-call]
        image, text, scale, tuple(dims), tuple(weights), masked, row_weights, query_offset
    )
    return loss


class _IncrementalInfoNCE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        text: Tensor,
        scale: Tensor,
        dims: tuple[int, ...],
        weights: tuple[float, ...],
        masked: Tensor,
        row_weights: Tensor,
        query_offset: int,
    ) -> Tensor:
        num_queries, num_rows = masked.shape
        rows = slice(query_offset, query_offset + num_queries)
        whole = num_queries == num_rows
        own = torch.arange(num_queries, device=image.device) + query_offset
        dropped = (
            (row_weights == 0).expand(num_queries, -1).clone()
        )  # (n, B): texts that are no candidates
        dropped[torch.arange(num_queries, device=image.device), own] = False
        half = row_weights[rows] * 0.5  # (n,)
        if whole:
            # One S serves both: a dropped text's column is masked for the images, and as a query it
            # weighs nothing.
            passes = [_Pass(image, text, masked | dropped, half, half)]
        else:
            passes = [
                _Pass(image[rows], text, masked | dropped, half, None),
                _Pass(text[rows], image, masked, half, None),
            ]
        needs_gradient = any(ctx.needs_input_grad)
        loss = image.new_zeros(())
        scale_gradient = image.new_zeros(())
        start = 0
        for dim, weight in zip(dims, weights, strict=True):
            for one in passes:
                partial, partial_scale = one.step(start, dim, scale, weight, own, needs_gradient)
                loss = loss + partial
                scale_gradient = scale_gradient + partial_scale
            start = dim
        if needs_gradient:
            ctx.save_for_backward(image, text, scale_gradient)
            ctx.passes, ctx.dims, ctx.rows, ctx.whole = passes, dims, rows, whole
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        image, text, scale_gradient = ctx.saved_tensors
        if ctx.passes is None:
            raise RuntimeError(
                "this loss's matrices went with its first backward pass: call the loss again"
            )
        image_gradient, text_gradient = torch.zeros_like(image), torch.zeros_like(text)
        first = ctx.passes[0]
        first.backward(ctx.dims, image_gradient[ctx.rows], text_gradient)
        if not ctx.whole:
            ctx.passes[1].backward(ctx.dims, text_gradient[ctx.rows], image_gradient)
        ctx.passes = None  # the kept matrices are the largest thing here: free them with the graph
        return (
            image_gradient.mul_(grad_loss),
            text_gradient.mul_(grad_loss),
            scale_gradient * grad_loss,
            *(None,) * 5,
        )


class _Pass:
    """Queries against candidates: S, the norms, and each dim's gradients by S and by the norms."""

    def __init__(
        self,
        queries: Tensor,
        candidates: Tensor,
        masked: Tensor,
        row_weights: Tensor,
        column_weights: Tensor | None,
    ) -> None:
        self.queries, self.candidates, self.masked = queries, candidates, masked
        self.row_weights, self.column_weights = row_weights, column_weights
        self.dots = queries.new_zeros(masked.shape)
        self.query_norms = queries.new_zeros(len(queries), dtype=torch.float64)
        self.candidate_norms = queries.new_zeros(len(candidates), dtype=torch.float64)
        self.gradients: list[
            tuple[Tensor, Tensor, Tensor]
        ] = []  # a dim: by S, by query norms, by candidate norms

    def step(
        self, start: int, stop: int, scale: Tensor, weight: float, own: Tensor, needs_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        """Extend S to ``stop`` dims; return the weighted loss and its derivative by the scale."""
        query_block, candidate_block = self.queries[:, start:stop], self.candidates[:, start:stop]
        self.dots.addmm_(query_block, candidate_block.T)
        # float64: an exact root on every CPU (a float32 root is not), and no drift over many
        # blocks.
        self.query_norms += query_block.double().square().sum(1)
        self.candidate_norms += candidate_block.double().square().sum(1)
        by_query = self.query_norms.clamp_min(_SMALLEST_SQUARED_NORM).rsqrt().to(scale.dtype)
        by_candidate = (
            self.candidate_norms.clamp_min(_SMALLEST_SQUARED_NORM).rsqrt().to(scale.dtype)
        )
        factor = (scale * by_query)[:, None]  # (n, 1)
        logits = (self.dots * factor).mul_(by_candidate)  # (n, B)
        index = own[:, None]
        own_logits = logits.gather(1, index)[:, 0]  # (n,)
        logits.masked_fill_(self.masked, -torch.inf)

        row_shift = logits.amax(1, keepdim=True)
        share = (logits - row_shift).exp_()
        row_sum = share.sum(1, keepdim=True)
        loss = (self.row_weights * (row_sum.log() + row_shift)[:, 0].sub(own_logits)).sum()
        pull = self.row_weights
        share.mul_(self.row_weights[:, None] / row_sum)
        if self.column_weights is not None:
            column_shift = logits.amax(0, keepdim=True)
            column_share = logits.sub_(column_shift).exp_()
            column_sum = column_share.sum(0, keepdim=True)
            loss = (
                loss
                + (self.column_weights * (column_sum.log() + column_shift)[0].sub(own_logits)).sum()
            )
            share.addcmul_(column_share, self.column_weights / column_sum)
            pull = pull + self.column_weights
        if not needs_gradient:
            return loss * weight, loss.new_zeros(())

        share.scatter_add_(1, index, -pull[:, None])  # dloss/dlogits
        by_dots = share.mul_(factor * weight).mul_(by_candidate)
        moved = by_dots * self.dots  # dloss/dlogits * logits, finite where masked
        by_rows, by_columns = moved.sum(1), moved.sum(0)
        self.gradients.append(
            (
                by_dots,
                _by_squared_norm(by_rows, self.query_norms),
                _by_squared_norm(by_columns, self.candidate_norms),
            )
        )
        return loss * weight, by_rows.sum() / scale

    def backward(
        self, dims: tuple[int, ...], query_gradient: Tensor, candidate_gradient: Tensor
    ) -> None:
        """Add to both gradients, from the largest dim down."""
        by_dots, by_query, by_candidate = self.gradients[-1]  # changed in place: backward runs once
        for position in range(len(dims) - 1, -1, -1):
            if position < len(dims) - 1:
                for total, part in zip(
                    (by_dots, by_query, by_candidate), self.gradients[position], strict=True
                ):
                    total.add_(part)
            block = slice(dims[position - 1] if position else 0, dims[position])
            query_block, candidate_block = self.queries[:, block], self.candidates[:, block]
            query_gradient[:, block].addmm_(by_dots, candidate_block).addcmul_(
                query_block, by_query[:, None]
            )
            candidate_gradient[:, block].addmm_(by_dots.T, query_block).addcmul_(
                candidate_block, by_candidate[:, None]
            )


def _by_squared_norm(moved: Tensor, squared_norms: Tensor) -> Tensor:
    """Twice the derivative by the squared norm: the embedding's factor; 0 at a zero vector."""
    by_norm = -moved / squared_norms.to(moved.dtype).clamp_min(_SMALLEST_SQUARED_NORM)
    return by_norm.masked_fill(squared_norms <= _SMALLEST_SQUARED_NORM, 0.0)
