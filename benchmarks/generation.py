"""Greedy generation of 64 tokens: with the cache, without it, and by Transformers.

Run:    python benchmarks/generation.py
Needs:  edge-glass-decoders

The two small decoders of params.yaml, from scratch, behind 16 visual positions and a prompt of 12
words. The end-of-sequence token is out of reach, so that every row gets its 64 words. All ways must
give the same words; they take turns, and the medians count. The peer is `Qwen2ForCausalLM.generate`
on the same weights, with its cache; the recursive decoder has none.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edge_glass.decoders.base import Decoder
from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.sampling import generate
from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.decoders.trm import TinyRecursiveConfig

PREFIX, PROMPT, TOKENS = 16, 12, 64
QWEN = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,  # untrained at 0.02 it would say one word again and again
}


def build(name: str) -> Decoder:
    """Make a decoder of 500 words; a fixed draw."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer((f"word{number}" for number in range(495)), max_vocab=500)
    config = TinyRecursiveConfig() if name == "trm" else CausalLmConfig(config=QWEN)
    return config.build(tokenizer).eval()


def compare(name: str, rows: int, repeats: int) -> None:
    """Print the times and ratios of one decoder."""
    decoder = build(name)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(rows, PREFIX + PROMPT, decoder.width, generator=generator)
    mask = torch.ones(rows, PREFIX + PROMPT, dtype=torch.long)

    def ours(use_cache: bool) -> Tensor:
        return generate(
            decoder,
            inputs,
            mask,
            decoder.embed,
            max_new_tokens=TOKENS,
            eos_token_id=decoder.vocab_size,
            prefix_length=PREFIX,
            use_cache=use_cache,
        )

    ways: dict[str, Callable[[], Tensor]] = {
        "cached": lambda: ours(True),
        "uncached": lambda: ours(False),
    }
    if isinstance(decoder, CausalLmDecoder):
        model: Any = decoder.causal_lm

        def theirs() -> Tensor:
            words: Tensor = model.generate(
                inputs_embeds=inputs,
                attention_mask=mask,
                max_new_tokens=TOKENS,
                min_new_tokens=TOKENS,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
            return words

        ways["transformers"] = theirs
    words = {each: way() for each, way in ways.items()}  # warm-up, and the same words
    agree = {each: bool(torch.equal(found, words["cached"])) for each, found in words.items()}
    times: dict[str, list[float]] = {each: [] for each in ways}
    for _ in range(repeats):
        for each, way in ways.items():
            start = time.perf_counter()
            way()
            times[each].append(time.perf_counter() - start)
    medians = {each: statistics.median(values) for each, values in times.items()}
    print(f"{name}, {rows} rows, {TOKENS} tokens, {len(words['cached'].unique())} different words")
    for each, seconds in medians.items():
        print(f"   {each:12} {seconds:6.2f} s  {rows * TOKENS / seconds:6.0f} tokens/s  "
              f"{seconds / medians['cached']:5.2f}x of cached  "
              f"{'same words' if agree[each] else 'OTHER words'}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    for name in ("trm", "qwen2_5_tiny"):
        for rows in arguments.rows:
            compare(name, rows, arguments.repeats)


if __name__ == "__main__":
    main()
