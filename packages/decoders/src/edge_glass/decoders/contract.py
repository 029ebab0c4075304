"""Checks that a causal language model computes what a decoder has to compute, before training.

Three properties are measured on random words, in a fraction of a second for a small model. They
fail for models that find positions without `position_ids` (ALiBi), that carry a state from word to
word (state space, convolution), or that change logits after the vocabulary projection. They would
also fail if a later transformers read the mask in a different way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from edge_glass.decoders.causal_lm import CausalLmDecoder

PREFIX, FIRST, SECOND = 3, 4, 5  # words of the prefix and of two packed questions
# Largest error relative to the norm of the logits. Measured over 35 families with random weights:
# at most 3e-6 in float32 and 2e-3 in bfloat16; 0.06 and more for the families that are refused.
# These models have two layers, and rounding adds up: 28 layers of the size of Qwen2.5-7B, with
# random weights in bfloat16, gave 0.034 on a GPU.
EXACT, ROUNDED, QUANTIZED = 1e-3, 0.03, 0.05
LAYERS = 16  # of more layers, the tolerance for rounding grows with the root of their number
FAILURES = (
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
REMEDY = "choose a model with attention in every layer and rotary or learned positions"


@torch.no_grad()
def check_contract(decoder: CausalLmDecoder) -> None:
    """Checks a decoder as it is loaded; it changes no weight and draws no random number.

    Raises:
        ValueError: names the family and what failed.
    """
    training = decoder.training
    decoder.eval()
    try:
        ids = _words(decoder)
        with decoder.autocast():
            measured = {
                "its own logits differ from those of its hidden states": _own_logits(decoder, ids),
                "a packed question differs from the same question alone": _packed(decoder, ids),
                "generation with a cache differs from the whole text": _cached(decoder, ids),
            }
    except FAILURES as error:
        raise ValueError(
            f"a model of the family {decoder.family} can't be a decoder: it does not run on "
            f"embeddings with a mask and positions ({type(error).__name__}: {error}); {REMEDY}"
        ) from error
    finally:
        decoder.train(training)
    tolerance = tolerance_of(decoder)
    for reason, (found, expected) in measured.items():
        error_size = float((found - expected).norm() / expected.norm().clamp(min=1e-12))
        if not error_size <= tolerance:  # NaN fails too
            raise ValueError(
                f"a model of the family {decoder.family} can't be a decoder: {reason} (relative "
                f"error {error_size:.2g}, expected at most {tolerance:g}); {REMEDY}"
            )


def _words(decoder: CausalLmDecoder) -> Int[Tensor, "1 T"]:
    """Returns random words, drawn without torch's global generator."""
    generator = torch.Generator().manual_seed(0)
    length = PREFIX + FIRST + SECOND
    ids = torch.randint(0, decoder.vocab_size, (1, length), generator=generator)
    return ids.to(next(decoder.parameters()).device)


def tolerance_of(decoder: CausalLmDecoder) -> float:
    """Returns the largest relative error that rounding explains, by precision and layers."""
    if decoder.quantization == "none" and decoder.dtype == torch.float32:
        return EXACT
    layers = getattr(decoder.causal_lm.config.get_text_config(), "num_hidden_layers", LAYERS)
    base = ROUNDED if decoder.quantization == "none" else QUANTIZED
    return base * math.sqrt(max(1.0, layers / LAYERS))


def _logits(
    decoder: CausalLmDecoder, ids: Tensor, mask: Tensor, positions: Tensor | None = None
) -> Float[Tensor, "B T V"]:
    hidden = decoder(decoder.embed(ids), mask, position_ids=positions).hidden_states[-1]
    return decoder.project(hidden).float()


def _own_logits(decoder: CausalLmDecoder, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns our logits and those of the model's own forward pass."""
    ones = torch.ones_like(ids)
    own = decoder.causal_lm(input_ids=ids, attention_mask=ones, use_cache=False).logits
    return _logits(decoder, ids, ones), own.float()


def _packed(decoder: CausalLmDecoder, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the logits of two packed questions, and of each alone behind the prefix."""
    sizes = (PREFIX, FIRST, SECOND)
    group = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes)).to(ids.device)
    mask = (group[None, :] == 0) | (group[:, None] == group[None, :])
    positions = [*range(PREFIX + FIRST), *range(PREFIX, PREFIX + SECOND)]
    packed = _logits(decoder, ids, mask[None], torch.tensor([positions], device=ids.device))
    alone = []
    for question in (1, 2):
        kept = ids[:, (group == 0) | (group == question)]
        alone.append(_logits(decoder, kept, torch.ones_like(kept))[:, PREFIX:])
    return packed[:, PREFIX:], torch.cat(alone, dim=1)


def _cached(decoder: CausalLmDecoder, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the logits of the last words, each read with a cache, and of the whole text.

    The second of two rows has padding on the left.
    """
    rows = torch.cat((ids, ids.flip(1)))
    mask = torch.ones_like(rows)
    mask[1, : PREFIX + 1] = 0
    whole = _logits(decoder, rows, mask)
    start = rows.shape[1] - FIRST
    embeds = decoder.embed(rows)
    output = decoder(embeds[:, :start], mask[:, :start], use_cache=True)
    found = []
    for end in range(start + 1, rows.shape[1] + 1):
        output = decoder(
            embeds[:, end - 1 : end], mask[:, :end], cache=output.cache, use_cache=True
        )
        found.append(decoder.project(output.hidden_states[-1]).float())
    return torch.cat(found, dim=1), whole[:, start:]
