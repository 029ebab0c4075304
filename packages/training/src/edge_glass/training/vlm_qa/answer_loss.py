"""Answer-only causal language modelling: the vocabulary is projected at labelled positions only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

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
    """Returns the summed cross entropy of the labelled tokens, () in float32, and their number.

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
    The loss is computed in the model's own precision, see `fusion/compute.py`.
    """

    def __init__(self, model: VisionLanguageModel, *, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing

    def forward(
        self,
        features: Float[Tensor, "B P D"],
        input_ids: Int[Tensor, "B T"],
        segment_ids: Int[Tensor, "B T"],
        labels: Int[Tensor, "B T"],
    ) -> Float[Tensor, ""]:
        """Returns the summed loss of the labelled tokens; the arguments are those of the model."""
        with self.model.autocast():
            output = self.model(features, input_ids, segment_ids, labels)
            loss, _ = causal_lm_loss(
                self.model.decoder.project,
                output.hidden_states,
                output.labels,
                label_smoothing=self.label_smoothing,
            )
        return loss
