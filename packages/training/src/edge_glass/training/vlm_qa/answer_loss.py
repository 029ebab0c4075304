"""Answer-only causal language modelling: the vocabulary is projected at labelled positions only."""

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
    """Returns the summed cross entropy of the labelled tokens, and the number of these tokens.

    The caller divides by the number of labelled tokens of the whole batch. A mean per microbatch
    would instead weight a token by how many other labelled tokens its microbatch has. If no token
    is labelled, the loss is 0 and still has a graph.

    Args:
        project: maps hidden states (tokens, D) to logits (tokens, V), as `decoder.project`.
        hidden_states: one per supervision step, of which the last one gives the answer; the loss is
            the mean over them.
        labels: aligned with the sequence; `IGNORED` at positions without a target. Position s is
            predicted from position s - 1, so the label of the first position is never used.
        label_smoothing: share of the target that is spread evenly over the vocabulary, 0 to 1.

    Returns:
        The sum over the tokens in float32, (), and their number.

    Raises:
        ValueError: if there are no hidden states, or their shape does not match the labels.
    """
    if not hidden_states:
        raise ValueError("found no hidden states, expected one per supervision step")
    for hidden in hidden_states:
        if hidden.ndim != 3 or hidden.shape[:2] != labels.shape:
            raise ValueError(
                f"hidden states {tuple(hidden.shape)} do not match labels {tuple(labels.shape)}: "
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
    """A vision-language model and its loss as one module, so that one forward computes a loss.

    Wrappers that hook into a module's forward and backward (DDP, DeepSpeed) then see everything.
    Weights remain float32, and with `use_bfloat16` matrix products run in bfloat16 by autocast. The
    bfloat16 modes of DeepSpeed or of the module would round norms and the projector's weights too.

    Args:
        model: the model to train.
        label_smoothing: see `causal_lm_loss`.
        use_bfloat16: whether products run in bfloat16.
    """

    def __init__(
        self, model: VisionLanguageModel, *, label_smoothing: float, use_bfloat16: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing, self.use_bfloat16 = label_smoothing, use_bfloat16

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context in which the model runs, in training and in validation."""
        kind = next(self.model.parameters()).device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.use_bfloat16)

    def forward(
        self,
        features: Float[Tensor, "B P D"],
        input_ids: Int[Tensor, "B T"],
        segment_ids: Int[Tensor, "B T"],
        labels: Int[Tensor, "B T"],
    ) -> Float[Tensor, ""]:
        """Returns the summed loss of the labelled tokens; the arguments are those of the model."""
        with self.autocast():
            output = self.model(features, input_ids, segment_ids, labels)
            loss, _ = causal_lm_loss(
                self.model.decoder.project,
                output.hidden_states,
                output.labels,
                label_smoothing=self.label_smoothing,
            )
        return loss
