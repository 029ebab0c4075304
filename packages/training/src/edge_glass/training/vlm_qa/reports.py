"""What `vlm_qa` prints and refuses before its first step, about the texts and the precision."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from edge_glass.fusion.compute import compute_dtype
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.vlm_qa.token_arrays import TokenArrays


def starting_lines(
    model: VisionLanguageModel,
    samples: TokenArrays,
    num_visual: int,
    reproducibility: str,
) -> Iterator[str]:
    """Yields what a person should know before a run: the cost of the texts, and slow settings.

    Raises:
        ValueError: if the longest conversation does not fit into the decoder's context.
    """
    kind = "conversation" if model.config.conversations else "question with its answer"
    total = int(samples.starts[-1])
    tokens = total / int(samples.conversations.sum())
    template = len(prompt_ids(model.tokenizer, ""))
    per_image = total / len(samples)
    yield (
        f"{tokens:.1f} tokens per {kind}, {template} of them for a turn of "
        f"the chat template; {per_image:.1f} per image behind {num_visual} visual tokens"
    )
    limit, longest = model.decoder.max_positions, int(samples.longest.max())
    if limit is not None and num_visual + longest > limit:
        raise ValueError(
            f"the longest {kind} has {longest} tokens behind {num_visual} visual "
            f"tokens, but the decoder accepts {limit} positions; set vlm_qa.max_length to at most "
            f"{limit - num_visual}, or choose a decoder with a longer context"
        )
    device = model.device
    slow = device.type == "cpu" and reproducibility == "portable"
    if slow and compute_dtype(device, model.decoder.dtype) == torch.bfloat16:
        yield (
            "warning: bfloat16 on a CPU is many times slower with reproducibility: portable; set "
            "the decoder's dtype to float32, or reproducibility to native"
        )


@torch.no_grad()
def visual_length(model: VisionLanguageModel, patches: int, width: int) -> int:
    """Returns how many positions stand in front of the text, for features of (P, width)."""
    training = model.training
    model.eval()
    features = torch.zeros(1, patches, width, device=model.device)
    with model.autocast():
        prefix = model.fusion.prefix(model.see(features)).shape[1]
    model.train(training)
    return int(prefix) + (model.start_id is not None)
