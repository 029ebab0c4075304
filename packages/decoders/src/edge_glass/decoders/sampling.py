"""Token by token generation: greedy, or sampled with noise that depends on the example only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edge_glass.decoders.base import Decoder


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to choose a word. Temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}, expected 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, expected 0 < top_p <= 1")


def uniform(seed: int, example: int, step: int) -> float:
    """A number in [0, 1) that depends on its three arguments only, on any machine."""
    key = f"{seed},{example},{step}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64


def choose(
    logits: Float[Tensor, "b v"], sampling: Sampling, examples: Sequence[int], step: int
) -> Int[Tensor, " b"]:
    """Chooses one word a row.

    Sampling inverts the cumulative distribution of the words sorted by probability, cut at the
    smallest set that holds `top_p`, at one counter-based number a row: the same example gets the
    same answer in any batch.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    scaled = logits.double() / sampling.temperature
    probabilities, words = scaled.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    cumulative = probabilities.cumsum(dim=-1)
    # A word stays if the words before it hold less than top_p: the first always stays.
    kept = (cumulative - probabilities) < sampling.top_p
    mass = torch.where(kept, probabilities, 0.0).sum(dim=-1, keepdim=True)
    draws = [uniform(sampling.seed, example, step) for example in examples]
    target = torch.tensor(draws, dtype=torch.float64, device=logits.device)[:, None] * mass
    rank = (cumulative <= target).sum(dim=-1, keepdim=True)
    rank = torch.minimum(rank, kept.sum(dim=-1, keepdim=True) - 1)
    return words.gather(-1, rank)[:, 0]


@torch.no_grad()
def generate(
    decoder: Decoder,
    inputs_embeds: Float[Tensor, "b s d"],
    attention_mask: Int[Tensor, "b s"],
    embed_next: Callable[[Tensor], Tensor],
    max_new_tokens: int,
    eos_token_id: int,
    prefix_length: int = 0,
    *,
    sampling: Sampling | None = None,
    examples: Sequence[int] | None = None,
    use_cache: bool = True,
) -> Int[Tensor, "b new"]:
    """Continues each row of a batch until EOS or `max_new_tokens`.

    Args:
        decoder: In eval mode.
        inputs_embeds: (B, S, D) visual prefix and prompt.
        attention_mask: (B, S), 1 = keep; padding may be on either side or in between.
        embed_next: (B, 1) word ids -> (B, 1, D) embeddings of the next position; a fusion that
            enriches words with the picture does so here.
        max_new_tokens: Most words a row.
        eos_token_id: Ends a row; an ended row is filled up with it.
        prefix_length: Passed on to the decoder.
        sampling: Greedy where not given.
        examples: A number a row that names the example, for its noise; the row's own where not
            given. Needed to get the same sampled answers at another batch size.
        use_cache: False runs the whole sequence for every word: slow, the reference of tests.

    Returns:
        (B, at most max_new_tokens) ids, EOS included, as long as the longest row.

    Raises:
        ValueError: The decoder is in training mode, a row has no kept position, or the numbers of
            rows differ.
    """
    batch = inputs_embeds.shape[0]
    _check(decoder, attention_mask, batch, examples)
    sampling = sampling or Sampling()
    examples = range(batch) if examples is None else examples
    mask = attention_mask.long()
    rows = torch.arange(batch, device=mask.device)
    # The last kept column of each row predicts its first word, wherever the padding is.
    last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
    output = decoder(inputs_embeds, mask, use_cache=use_cache, prefix_length=prefix_length)
    ended = torch.zeros(batch, dtype=torch.bool, device=mask.device)
    words: list[Tensor] = []
    for step in range(max_new_tokens):
        logits = decoder.project(output.hidden_states[-1][rows, last])
        word = choose(logits, sampling, examples, step).masked_fill(ended, eos_token_id)
        words.append(word)
        ended = ended | (word == eos_token_id)
        if step == max_new_tokens - 1 or bool(ended.all()):
            break
        mask = torch.cat((mask, mask.new_ones(batch, 1)), dim=1)
        following = embed_next(word[:, None])
        if use_cache:
            output = decoder(following, mask, cache=output.cache, use_cache=True)
        else:
            inputs_embeds = torch.cat((inputs_embeds, following), dim=1)
            output = decoder(inputs_embeds, mask, prefix_length=prefix_length)
        last = torch.full_like(last, output.hidden_states[-1].shape[1] - 1)
    if not words:
        return torch.empty(batch, 0, dtype=torch.long, device=mask.device)
    return torch.stack(words, dim=1)


def _check(
    decoder: Decoder, attention_mask: Tensor, batch: int, examples: Sequence[int] | None
) -> None:
    if decoder.training:
        raise ValueError("the decoder is in training mode; call .eval() before generating")
    if attention_mask.ndim != 2 or attention_mask.shape[0] != batch:
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}, expected ({batch}, S): "
            "generate one question a row"
        )
    if not bool(attention_mask.bool().any(dim=1).all()):
        raise ValueError("a row of attention_mask keeps no position; give every row a prompt")
    if examples is not None and len(examples) != batch:
        raise ValueError(f"{len(examples)} examples for {batch} rows, expected one a row")
