"""Answer-only causal language modelling: only labelled positions meet the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from edge_glass.fusion.prompt import IGNORED

if TYPE_CHECKING:
    from edge_glass.fusion.vlm import VisionLanguageModel


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


class AnswerLoss(nn.Module):
    """A vision-language model and its loss as one module: all that a step computes is one forward.

    Wrappers that watch a module's forward and backward (DDP, DeepSpeed) then see everything.
    Weights stay float32; on a GPU products run in bfloat16. Not DeepSpeed's or a module's own
    bfloat16, which would round norms and the projector's weights too.

    Args:
        model: what is trained.
        label_smoothing: see `causal_lm_loss`.
        use_bfloat16: whether products run in it.
    """

    def __init__(
        self, model: VisionLanguageModel, *, label_smoothing: float, use_bfloat16: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing, self.use_bfloat16 = label_smoothing, use_bfloat16

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context that the model runs in, in training and in validation."""
        kind = next(self.model.parameters()).device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.use_bfloat16)

    def forward(
        self,
        features: Float[Tensor, "B P D"],
        input_ids: Int[Tensor, "B T"],
        segment_ids: Int[Tensor, "B T"],
        labels: Int[Tensor, "B T"],
    ) -> Float[Tensor, ""]:
        """Returns the summed loss of the labelled tokens; arguments as the model's forward."""
        with self.autocast():
            output = self.model(features, input_ids, segment_ids, labels)
            loss, _ = causal_lm_loss(
                self.model.decoder.project,
                output.hidden_states,
                output.labels,
                label_smoothing=self.label_smoothing,
            )
        return loss
