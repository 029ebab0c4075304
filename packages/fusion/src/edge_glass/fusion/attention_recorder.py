"""Records the weights of a decoder's attention while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode


class AttentionRecorder(TorchFunctionMode):
    """In a `with` block, records each call of `scaled_dot_product_attention`.

    The fused kernels return no weights, so they are computed again from the call's arguments. The
    model's own result is not changed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weights: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Records the call if it is an attention, and runs it."""
        del types
        if func is F.scaled_dot_product_attention:
            self._weights.append(attention_weights(*args, **(kwargs or {})).mean(dim=1))
        return func(*args, **(kwargs or {}))

    def mean(self) -> Float[Tensor, "B S S"]:
        """Returns the mean over the heads and the calls; each row sums to 1."""
        return torch.stack(self._weights).mean(dim=0)


def attention_weights(
    query: Float[Tensor, "B H S D"],
    key: Float[Tensor, "B G S_total D"],
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Float[Tensor, "B H S S_total"]:
    """Returns the weights of `scaled_dot_product_attention` for its arguments, without dropout."""
    del value, dropout_p
    if enable_gqa:
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = query.float() @ key.float().mT * (scale or query.shape[-1] ** -0.5)
    if is_causal:
        attn_mask = torch.ones_like(scores, dtype=torch.bool).tril()
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        else:
            scores = scores + attn_mask
    return scores.softmax(dim=-1)
