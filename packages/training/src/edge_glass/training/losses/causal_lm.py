"""Answer-only causal language modelling: only labelled positions meet the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

IGNORED = -100  # label of prompt, padding and visual prefix, as in transformers


def causal_lm_loss(
    project: Callable[[Tensor], Tensor],
    hidden_states: Sequence[Float[Tensor, "B S D"]],
    labels: Int[Tensor, "B S"],
    *,
    label_smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], int]:
    """Return the summed cross entropy of the labelled tokens and how many they are.

    The caller divides by the labelled tokens of its whole (accumulated, global) batch: a mean a
    micro-batch would weigh tokens by the company they arrive in. Without any labelled token the
    loss is 0, still with a graph.

    Args:
        project: hidden states (tokens, D) to logits (tokens, V): ``decoder.project``.
        hidden_states: one a supervision step, the last is the answer; the loss is the mean over
            them.
        labels: aligned with the sequence, `IGNORED` where nothing is learned. Position s is
            predicted from s - 1, so that the shift happens here, and the first position's label is
            never used.
        label_smoothing: share of the target spread evenly over the vocabulary, 0 to 1.

    Returns:
        float32 sum over the tokens, and their number.

    Raises:
        ValueError: where there are no hidden states or their shape does not agree with the labels'.
    """
    if not hidden_states:
        raise ValueError("found no hidden states; expected one a supervision step")
    for hidden in hidden_states:
        if hidden.ndim != 3 or hidden.shape[:2] != labels.shape:
            raise ValueError(
                f"hidden states {tuple(hidden.shape)} do not go with labels {tuple(labels.shape)}: "
                "expected (B, S, D) and (B, S), with labels for the visual prefix too"
            )
    targets = labels[:, 1:]
    batch, position = (targets != IGNORED).nonzero(as_tuple=True)  # (tokens,) each
    answers = targets[batch, position]
    losses = [
        F.cross_entropy(
            project(hidden[batch, position]).float(),  # (tokens, V)
            answers,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        for hidden in hidden_states
    ]
    return sum(losses[1:], losses[0]) / len(losses), len(answers)
