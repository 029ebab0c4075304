"""Answer-only causal language modelling: the vocabulary is projected at labelled positions only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from edge_glass.fusion.prompt import IGNORED
from edge_glass.training.vlm_qa.naming_loss import naming_loss

if TYPE_CHECKING:
    from edge_glass.fusion.vlm import VisionLanguageModel

# A thousand tokens of Qwen2.5's 152,064 words are 0.6 GB in float32, and several such tensors exist
# at once. Small vocabularies need no chunks.
CHUNK, LARGE_VOCABULARY = 1024, 32_000


def causal_lm_loss(
    project: Callable[[Tensor], Tensor],
    hidden_states: Sequence[Float[Tensor, "B S D"]],
    labels: Int[Tensor, "B S"],
    *,
    label_smoothing: float = 0.0,
    chunk: int | None = None,
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
        chunk: projects at most so many tokens at once, and again in the backward pass, so that the
            logits of one chunk are in memory; None for all at once.
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

    def summed(hidden: Tensor, wanted: Tensor) -> Tensor:
        logits = project(hidden).float()  # (tokens, V)
        return F.cross_entropy(logits, wanted, reduction="sum", label_smoothing=label_smoothing)

    losses = [_chunked(summed, hidden[batch, position], answers, chunk) for hidden in hidden_states]
    return sum(losses[1:], losses[0]) / len(losses), len(answers)


def _chunked(
    summed: Callable[[Tensor, Tensor], Tensor],
    hidden: Float[Tensor, "tokens D"],
    answers: Int[Tensor, " tokens"],
    chunk: int | None,
) -> Float[Tensor, ""]:
    if chunk is None or len(answers) <= chunk:
        return summed(hidden, answers)
    parts = [
        cast("Tensor", checkpoint(summed, *part, use_reentrant=False))
        for part in zip(hidden.split(chunk), answers.split(chunk), strict=True)
    ]
    return sum(parts[1:], parts[0])


class AnswerLoss(nn.Module):
    """A vision-language model and its loss as one module, so that one forward computes a loss.

    Wrappers that hook into a module's forward and backward (DDP, DeepSpeed) then see everything.
    The loss is computed in the model's own precision, see `fusion/compute.py`. `naming_weight` is
    that of `naming_loss`, for a model with readings.
    """

    def __init__(
        self, model: VisionLanguageModel, *, label_smoothing: float, naming_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        self.naming_weight = naming_weight

    def forward(
        self,
        features: Float[Tensor, "B P D"],
        input_ids: Int[Tensor, "B T"],
        segment_ids: Int[Tensor, "B T"],
        labels: Int[Tensor, "B T"],
    ) -> Float[Tensor, ""]:
        """Returns the summed loss of the labelled tokens, and of the names among them.

        The arguments are those of the model.
        """
        with self.model.autocast():
            output = self.model(features, input_ids, segment_ids, labels)
            loss, _ = causal_lm_loss(
                self.model.decoder.project,
                output.hidden_states,
                output.labels,
                label_smoothing=self.label_smoothing,
                chunk=CHUNK if self.model.decoder.vocab_size >= LARGE_VOCABULARY else None,
            )
            matches = self.model.matches
            if self.naming_weight and matches is not None and matches.readings is not None:
                patches = output.visual[..., -matches.dim :]
                named = naming_loss(matches.readings, patches, input_ids, labels)
                loss = loss + self.naming_weight * named
        return loss
