"""TRM, the Tiny Recursive Model, as a causal language decoder.

Its depth comes from recursion, not from layers. One small shared block is applied repeatedly
to two states of every position, an answer y and a latent z. The input is x:

    cycle:              z <- block(x + y + z)   num_latent_updates times
                        y <- block(y + z)
    supervision step:   num_cycles cycles, gradient through the last one only
    forward pass:       num_supervision_steps steps; each starts from the detached states of the
                        previous one and has its own loss on y (deep supervision)

The input reaches y only through z. As in the authors' code, the states start from fixed random
vectors that the checkpoint holds: with gradient through the last cycle only they could not learn.

Adapted from Jolicoeur-Martineau, "Less is More: Recursive Reasoning with Tiny Networks", 2025,
arXiv:2510.04871. Different here: causal self-attention instead of full, a cache of keys and values
per attention call, and no halting head (the number of steps is fixed).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor, nn

from edge_glass.decoders.base import Decoder, DecoderOutput
from edge_glass.decoders.cache import KeyValueCache
from edge_glass.decoders.layers import RMSNorm, rotary_table
from edge_glass.decoders.masks import additive, check_mask, may_attend, rotary_positions
from edge_glass.decoders.recursive_block import RecursiveBlock
from edge_glass.decoders.tokenizer import word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


_COUNTS = (
    "width",
    "num_layers",
    "num_heads",
    "intermediate_dim",
    "num_latent_updates",
    "num_cycles",
    "num_supervision_steps",
    "max_positions",
    "max_vocab",
)
_MAX_COUNT = 10**6


@dataclass(frozen=True, kw_only=True)
class TinyRecursiveConfig:
    """Options of the recursive decoder; the defaults give half a million parameters."""

    width: int = 128
    num_layers: int = 2  # layers of the one shared block
    num_heads: int = 4
    intermediate_dim: int = 384  # SwiGLU's inner width
    num_latent_updates: int = 2  # n: more updates, more compute per answer
    num_cycles: int = 2  # T: the first T - 1 run without gradient
    num_supervision_steps: int = 1
    norm: Literal["pre", "post"] = "post"
    bidirectional_prefix: bool = True  # prefix tokens attend to each other in both directions
    tie_word_embeddings: bool = True
    dropout: float = 0.0
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-6
    max_positions: int = 2048
    max_vocab: int = 8192

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if not 1 <= getattr(self, name) <= _MAX_COUNT:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 to {_MAX_COUNT}")
        for name in ("rope_theta", "rms_norm_eps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected a number of more than 0"
                )
        if self.width % (2 * self.num_heads):
            raise ValueError(
                f"width is {self.width}, expected a multiple of 2 * num_heads = "
                f"{2 * self.num_heads}; rotary positions need heads of an even width"
            )
        if self.norm not in ("pre", "post"):
            raise ValueError(f"norm is {self.norm!r}, expected 'pre' or 'post'")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, expected at least 0 and less than 1")

    def build_tokenizer(self, texts: Iterable[str]) -> PreTrainedTokenizerFast:
        """Builds a word tokenizer of at most `max_vocab` entries from the training texts."""
        return word_tokenizer(texts, max_vocab=self.max_vocab)

    def build(
        self, tokenizer: PreTrainedTokenizerFast, device: torch.device | None = None
    ) -> TinyRecursiveDecoder:
        """Builds the decoder with one row per tokenizer entry."""
        return TinyRecursiveDecoder(self, vocab_size=len(tokenizer)).to(device)


@contextmanager
def _without_gradient() -> Iterator[None]:
    """Turns gradients off, and clears autocast's cache of cast weights afterwards.

    In releases of torch with its issue 158232 the last cycle would reuse a weight that was cast
    here without gradient, and the block would learn nothing.
    """
    with torch.no_grad():
        yield
    torch.clear_autocast_cache()


def _positions_of(needed: Bool[Tensor, "B S"]) -> Int[Tensor, "B L"]:
    """Returns the positions that are True, as many per row as the row with most has, 1 or more."""
    most = max(1, int(needed.sum(dim=1).max()))
    # a row with fewer is filled up with its first other positions
    return needed.int().argsort(dim=1, descending=True, stable=True)[:, :most]


class TinyRecursiveDecoder(Decoder):
    """Causal decoder with one shared block, see the head of this file."""

    rotary: Tensor
    answer_init: Tensor
    latent_init: Tensor

    def __init__(self, config: TinyRecursiveConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.width, self.max_positions = config.width, config.max_positions
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, config.width)
        self.block = RecursiveBlock(config)
        self.output_norm = RMSNorm(config.width, config.rms_norm_eps)
        self.output = (
            None if config.tie_word_embeddings else nn.Linear(config.width, vocab_size, bias=False)
        )
        self.register_buffer("answer_init", torch.empty(config.width))
        self.register_buffer("latent_init", torch.empty(config.width))
        table = rotary_table(
            config.max_positions, config.width // config.num_heads, config.rope_theta
        )
        self.register_buffer("rotary", table, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights from torch's global generator; standard deviation 1 / sqrt(fan in)."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
            elif name.endswith("norm.weight"):
                nn.init.ones_(parameter)
        nn.init.normal_(self.answer_init)
        nn.init.normal_(self.latent_init)

    @property
    def word_embeddings(self) -> Tensor:
        """The table that `embed` looks up and scales."""
        return self.embedding.weight

    def embed(self, input_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Looks up tokens, scaled by sqrt(D) to the unit scale of the states y and z."""
        embedded: Tensor = self.embedding(input_ids)
        return embedded * math.sqrt(self.width)

    def project(self, hidden: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """Applies RMSNorm and the vocabulary matrix, which may be the embedding's (tied)."""
        weight = self.embedding.weight if self.output is None else self.output.weight
        logits: Tensor = F.linear(self.output_norm(hidden), weight)
        return logits

    def forward(
        self,
        inputs_embeds: Float[Tensor, "B S D"],
        attention_mask: Int[Tensor, "B S_total"] | Bool[Tensor, "B S S_total"],
        position_ids: Int[Tensor, "B S"] | None = None,
        cache: object | None = None,
        use_cache: bool = False,
        prefix_length: int = 0,
        needed: Bool[Tensor, "B S"] | None = None,
    ) -> DecoderOutput:
        """Runs all supervision steps; of the last one, only `needed` positions are computed."""
        memory = self._memory(cache, use_cache)
        batch, queries, _ = inputs_embeds.shape
        cached = 0 if memory is None else memory.length
        check_mask(attention_mask, batch, queries, cached)
        if cached + queries > self.config.max_positions:
            raise ValueError(
                f"trm: {cached + queries} positions, but max_positions is "
                f"{self.config.max_positions}; shorten the text or raise decoders.trm.max_positions"
            )
        positions = rotary_positions(attention_mask, position_ids, batch, queries)
        prefix = prefix_length if self.config.bidirectional_prefix else 0
        bias = additive(may_attend(attention_mask, positions, prefix), inputs_embeds.dtype)
        rotation = torch.view_as_complex(self.rotary[positions][:, :, None])  # (B, S, 1, head/2)
        chosen = None if needed is None else _positions_of(needed)
        answers = self._recurse(inputs_embeds, bias, rotation, memory, chosen)
        if memory is not None:
            memory.advance(queries)
        return DecoderOutput(hidden_states=tuple(answers), cache=memory)

    def _recurse(
        self,
        x: Float[Tensor, "B S D"],
        bias: Float[Tensor, "B 1 S S_total"],
        rotation: Complex[Tensor, "B S 1 E"],
        memory: KeyValueCache | None,
        chosen: Int[Tensor, "B L"] | None,
    ) -> list[Tensor]:
        config = self.config
        y = self.answer_init.to(x.dtype).expand_as(x)
        z = self.latent_init.to(x.dtype).expand_as(x)
        call = 0
        answers: list[Tensor] = []
        for step in range(config.num_supervision_steps):
            for cycle in range(config.num_cycles):
                last = cycle == config.num_cycles - 1
                # what follows reads all positions; nothing follows the last run of the block
                ends = last and step == config.num_supervision_steps - 1
                with nullcontext() if last else _without_gradient():
                    for _ in range(config.num_latent_updates):
                        z = self.block(x + y + z, bias, rotation, memory, call)
                        call += 1
                    y = self.block(y + z, bias, rotation, memory, call, chosen if ends else None)
                    call += 1
            answers.append(y)
            y, z = y.detach(), z.detach()
        if chosen is not None:
            index = chosen[:, :, None].expand_as(answers[-1])
            answers[-1] = answers[-1].new_zeros(x.shape).scatter(1, index, answers[-1])
        return answers

    def _memory(self, cache: object | None, use_cache: bool) -> KeyValueCache | None:
        if cache is None:
            return KeyValueCache() if use_cache else None
        if not isinstance(cache, KeyValueCache):
            raise TypeError(
                f"cache is a {type(cache).__name__}, expected the KeyValueCache that this decoder "
                "returned; do not mix decoders within one generation"
            )
        return cache
