"""Matryoshka loss: InfoNCE at all nested dimensions in one pass, or at one drawn a step."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from edge_glass.training.align.contrastive import candidate_mask, in_full_precision
from edge_glass.training.align.incremental import incremental_info_nce


class MatryoshkaLoss:
    """Weighted sum over ``dims`` of the contrastive loss of the embeddings' first numbers.

    With ``n_dims_per_step=1`` a step takes one dim, drawn with probability weight / sum of weights
    and counted with the sum of weights, so that the mean over the draws is the full weighted sum.
    The draw is a function of (seed, step) alone: the same on every rank, and after a restart.

    The plain contrastive loss at the largest dim can ride along at every step
    (``contrastive_weight``): it shares the pass, and so costs less than calling `contrastive_loss`
    beside this one.

    Args:
        dims: strictly descending, such as [512, 256, 128]; the largest at most the embeddings'
            width.
        weights: one a dim, not negative; None weighs each dim 1.
        n_dims_per_step: -1 for all dims at every step, 1 for one drawn dim.
        seed: of the draws.
        matryoshka_weight: multiplies the sum over dims.
        contrastive_weight: of the plain loss at the largest dim, in addition, at every step.

    Raises:
        ValueError: where a setting is out of its range, with what was found.
    """

    def __init__(
        self,
        dims: Sequence[int],
        weights: Sequence[float] | None = None,
        n_dims_per_step: int = -1,
        *,
        seed: int = 0,
        matryoshka_weight: float = 1.0,
        contrastive_weight: float = 0.0,
    ) -> None:
        self.dims = tuple(dims)
        if (
            not self.dims
            or self.dims[-1] < 1
            or any(a <= b for a, b in zip(self.dims, self.dims[1:], strict=False))
        ):
            raise ValueError(
                f"matryoshka_dims are {list(dims)}; expected positive numbers that strictly descend"
            )
        self.weights = (
            (1.0,) * len(self.dims)
            if weights is None
            else tuple(float(weight) for weight in weights)
        )
        if len(self.weights) != len(self.dims):
            raise ValueError(
                f"found {len(self.weights)} matryoshka_weights for {len(self.dims)} dims; "
                "expected one each"
            )
        if (
            any(not math.isfinite(weight) or weight < 0 for weight in self.weights)
            or not sum(self.weights) > 0
        ):
            raise ValueError(
                f"matryoshka_weights are {list(self.weights)}; "
                "expected none negative, and a sum above 0"
            )
        if n_dims_per_step not in (-1, 1):
            raise ValueError(
                f"n_dims_per_step is {n_dims_per_step}; expected -1 (all dims) or 1 (one drawn dim)"
            )
        if matryoshka_weight < 0 or contrastive_weight < 0:
            raise ValueError(
                f"matryoshka_weight is {matryoshka_weight}, "
                f"contrastive_weight {contrastive_weight}; expected neither to be negative"
            )
        self.n_dims_per_step = n_dims_per_step
        self.seed = seed
        self.matryoshka_weight = matryoshka_weight
        self.contrastive_weight = contrastive_weight

    @property
    def probabilities(self) -> tuple[float, ...]:
        """How often each dim is drawn where one is drawn a step."""
        return tuple(weight / sum(self.weights) for weight in self.weights)

    def draw(self, step: int) -> int:
        """Return the dim of this step: a function of (seed, step)."""
        counter = f"{self.seed} {step}".encode()
        digest = hashlib.blake2b(counter, digest_size=8, person=b"matryoshka").digest()
        remaining = int.from_bytes(digest, "little") / 2**64 * sum(self.weights)
        for dim, weight in zip(self.dims, self.weights, strict=True):
            remaining -= weight
            if remaining < 0:
                return dim
        # Rounding can leave a remainder of 0: the last dim that can be drawn at all.
        return max(
            zip(self.dims, self.weights, strict=True), key=lambda pair: (pair[1] > 0, -pair[0])
        )[0]

    def terms_at(self, step: int) -> dict[int, float]:
        """Return the dims of a step and their weights, ascending."""
        return self.terms(self.draw(step) if self.n_dims_per_step == 1 else None)

    def terms(self, dim: int | None = None) -> dict[int, float]:
        """Return each dim's weight, ascending: with one drawn ``dim``, or with all (None)."""
        if dim is None:
            terms = dict(zip(self.dims, self.weights, strict=True))
        else:
            terms = {dim: sum(self.weights)}
        terms = {size: weight * self.matryoshka_weight for size, weight in terms.items()}
        terms[self.dims[0]] = terms.get(self.dims[0], 0.0) + self.contrastive_weight
        return {size: terms[size] for size in sorted(terms) if terms[size] > 0}

    def __call__(
        self,
        image: Float[Tensor, "B D"],
        text: Float[Tensor, "B D"],
        logit_scale: Float[Tensor, ""],
        image_ids: Int[Tensor, " B"],
        text_ids: Int[Tensor, " B"],
        keep_text: Bool[Tensor, " B"] | None = None,
        *,
        step: int | None = None,
        query_offset: int = 0,
        num_queries: int | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss. Arguments as in `contrastive_loss`; ``step`` where one dim is drawn.

        Raises:
            ValueError: where the embeddings are narrower than the largest dim, or the step is
                missing.
        """
        if image.ndim == 2 and image.shape[1] < self.dims[0]:
            raise ValueError(
                f"matryoshka_dims go up to {self.dims[0]}, "
                f"but the embeddings are {image.shape[1]} wide"
            )
        if self.n_dims_per_step == 1 and step is None:
            raise ValueError(
                "n_dims_per_step is 1: the call needs the step that its draw is a function of"
            )
        image, text = in_full_precision(image), in_full_precision(text)
        masked, row_weights = candidate_mask(
            image, text, image_ids, text_ids, keep_text, query_offset, num_queries
        )
        terms = self.terms() if step is None else self.terms_at(step)
        with torch.autocast(image.device.type, enabled=False):
            scale = logit_scale.to(image.dtype).exp()
            return incremental_info_nce(
                image,
                text,
                scale,
                tuple(terms),
                tuple(terms.values()),
                masked,
                row_weights,
                query_offset,
            )
