"""Generation token by token: greedy, or sampled with noise that depends on the example only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edge_glass.decoders.base import Cache, Decoder


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next word is chosen, and when an answer ends.

    Attributes:
        temperature: logits are divided by it; 0 is greedy.
        top_p: words are drawn from the smallest set whose probability is at least this (nucleus
            sampling, Holtzman et al., 2020, arXiv:1904.09751).
        seed: seed of the noise.
        max_new_tokens: limit of an answer's length; None takes that of the model.
        stop: an answer ends before the first of these strings.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_new_tokens: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}, expected 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, expected 0 < top_p <= 1")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}, expected at least 1")
        if not all(self.stop):
            raise ValueError("a stop string is empty; give at least one letter, or leave it out")


def uniform(seed: int, example: int, step: int) -> float:
    """Returns a number in [0, 1) that depends only on its three arguments, on any machine."""
    key = f"{seed},{example},{step}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64


def choose(
    logits: Float[Tensor, "B V"], sampling: Sampling, examples: Sequence[int], step: int
) -> Int[Tensor, " B"]:
    """Chooses one word per row.

    Sampling sorts the words by probability, cuts them at the smallest set that holds `top_p`, and
    inverts the cumulative distribution at one counter-based random number per row. The same
    example therefore gets the same noise in any batch.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    # The largest logit becomes 0, so that no temperature divides to infinity.
    scaled = (logits - logits.amax(dim=-1, keepdim=True)).double() / sampling.temperature
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


def generate(
    decoder: Decoder,
    inputs_embeds: Float[Tensor, "B S D"],
    attention_mask: Int[Tensor, "B S_total"],
    embed_next: Callable[[Tensor], Tensor],
    max_new_tokens: int,
    eos_token_id: int | Sequence[int],
    prefix_length: int = 0,
    *,
    sampling: Sampling | None = None,
    examples: Sequence[int] | None = None,
    stopped: Callable[[Tensor], Tensor] | None = None,
    cache: Cache | None = None,
    use_cache: bool = True,
) -> Int[Tensor, "B M"]:
    """Continues each row of a batch until it ends; see `generate_words` for the arguments.

    Returns:
        (B, M) ids, EOS included; M <= max_new_tokens is the length of the longest row.
    """
    words = list(
        generate_words(
            decoder, inputs_embeds, attention_mask, embed_next, max_new_tokens, eos_token_id,
            prefix_length, sampling=sampling, examples=examples, stopped=stopped, cache=cache,
            use_cache=use_cache,
        )
    )  # fmt: skip
    if not words:
        return attention_mask.new_empty((len(attention_mask), 0), dtype=torch.long)
    return torch.stack(words, dim=1)


@torch.no_grad()
def generate_words(
    decoder: Decoder,
    inputs_embeds: Float[Tensor, "B S D"],
    attention_mask: Int[Tensor, "B S_total"],
    embed_next: Callable[[Tensor], Tensor],
    max_new_tokens: int,
    eos_token_id: int | Sequence[int],
    prefix_length: int = 0,
    *,
    sampling: Sampling | None = None,
    examples: Sequence[int] | None = None,
    stopped: Callable[[Tensor], Tensor] | None = None,
    cache: Cache | None = None,
    observe: Callable[[Tensor, Tensor], None] | None = None,
    use_cache: bool = True,
) -> Iterator[Int[Tensor, " B"]]:
    """Yields the next word of each row of a batch, until EOS or `max_new_tokens`.

    It also ends if the longest row fills the decoder's context.

    Args:
        decoder: in evaluation mode.
        inputs_embeds: visual prefix and prompt, without what is in `cache`.
        attention_mask: 1 = keep; padding may be on either side or in between. It includes the
            positions in `cache`.
        embed_next: (B, 1) token ids -> (B, 1, D) embeddings of the next position, with what a
            fusion adds to each word.
        max_new_tokens: limit per row.
        eos_token_id: ends a row. Several are possible; an ended row is filled with the first.
        prefix_length: see `Decoder.forward`.
        sampling: how words are chosen; None is greedy.
        examples: one number per row, which decides the row's noise; None takes the number of the
            row. Give it to get the same sampled answers at a different batch size.
        stopped: from the words so far (B, M) to (B,), True at rows that end here; None for no
            other end than EOS.
        cache: of the positions in front of `inputs_embeds`, which is changed in place.
        observe: receives the logits (B, V) of each step and the words (B,) chosen from them.
        use_cache: False runs the whole sequence for every word: slow, a reference for tests.
    """
    batch = inputs_embeds.shape[0]
    _check(decoder, attention_mask, batch, examples)
    sampling = sampling or Sampling()
    examples = range(batch) if examples is None else examples
    mask = attention_mask.long()
    ends = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
    end_ids = torch.tensor(ends, device=mask.device)
    rows = torch.arange(batch, device=mask.device)
    # The last kept column of each row predicts its first word, with padding on either side.
    last = inputs_embeds.shape[1] - 1 - mask.flip(1).argmax(dim=1)
    output = decoder(
        inputs_embeds, mask, cache=cache, use_cache=use_cache, prefix_length=prefix_length
    )
    ended = torch.zeros(batch, dtype=torch.bool, device=mask.device)
    words: list[Tensor] = []
    if decoder.max_positions is not None:  # the last word is not read, so it needs no position
        room = decoder.max_positions - int(mask.sum(dim=1).max()) + 1
        max_new_tokens = min(max_new_tokens, room)
    for step in range(max_new_tokens):
        logits = decoder.project(output.hidden_states[-1][rows, last])
        word = choose(logits, sampling, examples, step).masked_fill(ended, ends[0])
        if observe is not None:
            observe(logits, word)
        yield word
        ended = ended | torch.isin(word, end_ids)
        if stopped is not None:
            words.append(word)
            ended = ended | stopped(torch.stack(words, dim=1))
        if step == max_new_tokens - 1 or bool(ended.all()):
            return
        mask = torch.cat((mask, mask.new_ones(batch, 1)), dim=1)
        following = embed_next(word[:, None])
        if use_cache:
            output = decoder(following, mask, cache=output.cache, use_cache=True)
        else:
            inputs_embeds = torch.cat((inputs_embeds, following), dim=1)
            output = decoder(inputs_embeds, mask, prefix_length=prefix_length)
        last = torch.full_like(last, output.hidden_states[-1].shape[1] - 1)


def _check(
    decoder: Decoder, attention_mask: Tensor, batch: int, examples: Sequence[int] | None
) -> None:
    if decoder.training:
        raise ValueError("the decoder is in training mode; call .eval() before generating")
    if attention_mask.ndim != 2 or attention_mask.shape[0] != batch:
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}, expected ({batch}, S): "
            "one question per row"
        )
    if not bool(attention_mask.bool().any(dim=1).all()):
        raise ValueError("a row of attention_mask keeps no position; give each row a prompt")
    if examples is not None and len(examples) != batch:
        raise ValueError(f"found {len(examples)} examples for {batch} rows, expected one per row")
