"""Which dims a training step's loss looks at, and with which weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


class MatryoshkaTerms:
    """The terms of the Matryoshka loss at each step: all dims, or one drawn dim.

    If one dim is drawn, its probability is weight / sum of weights and it counts with the sum of
    weights, so that the mean over the draws is the full weighted sum. A draw is a function of
    (seed, step): the same in every process, and after a restart.

    The plain contrastive loss at the largest dim can be added at every step. It is one more weight
    on that dim, so it costs nothing if that dim is computed anyway.

    Args:
        dims: strictly descending, such as [512, 256, 128].
        weights: one per dim, none negative.
        n_dims_per_step: -1 for all dims at every step, 1 for one drawn dim.
        seed: of the draws.
        matryoshka_weight: multiplies the weights of all dims.
        contrastive_weight: of the plain loss at the largest dim.
    """

    def __init__(
        self,
        dims: Sequence[int],
        weights: Sequence[float],
        n_dims_per_step: int = -1,
        *,
        seed: int = 0,
        matryoshka_weight: float = 1.0,
        contrastive_weight: float = 0.0,
    ) -> None:
        self.dims = tuple(dims)
        self.weights = tuple(float(weight) for weight in weights)
        self.n_dims_per_step = n_dims_per_step
        self.seed = seed
        self.matryoshka_weight = matryoshka_weight
        self.contrastive_weight = contrastive_weight

    def at(self, step: int) -> dict[int, float]:
        """Returns a step's dims and their weights, ascending by dim."""
        if self.n_dims_per_step == 1:
            terms = {self.draw(step): sum(self.weights)}
        else:
            terms = dict(zip(self.dims, self.weights, strict=True))
        terms = {dim: weight * self.matryoshka_weight for dim, weight in terms.items()}
        terms[self.dims[0]] = terms.get(self.dims[0], 0.0) + self.contrastive_weight
        return {dim: terms[dim] for dim in sorted(terms) if terms[dim] > 0}

    def draw(self, step: int) -> int:
        """Returns the dim that a step draws, a function of (seed, step)."""
        counter = f"{self.seed} {step}".encode()
        digest = hashlib.blake2b(counter, digest_size=8, person=b"matryoshka").digest()
        remaining = int.from_bytes(digest, "little") / 2**64 * sum(self.weights)
        for dim, weight in zip(self.dims, self.weights, strict=True):
            remaining -= weight
            if remaining < 0:
                return dim
        # rounding can leave a remainder of 0: take the last dim that has a weight
        return min(dim for dim, weight in zip(self.dims, self.weights, strict=True) if weight > 0)
