"""A training step of a Qwen2 decoder: answer-only projection against Transformers' `labels=`.

Run:    python benchmarks/training_step.py
Needs:  edge-glass-training, Linux (memory is read from /proc)

A mid-size Qwen2 with the real vocabulary of 151,936 words, from scratch, all weights trained with
AdamW. Both take the same weights and batches (16 visual positions, a question, an answer of a few
words) and must give the same loss; then they take turns, and the medians count. Ours projects the
labelled positions alone, `Qwen2ForCausalLM(labels=...)` every position. Memory is that of
projection, loss and their backward beyond what lay there before, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.fusion.prompt import IGNORED
from edge_glass.training.vlm_qa.answer_loss import causal_lm_loss

VOCABULARY = 151_936
WIDTH, PREFIX = 512, 16
TARGET_TIME, TARGET_MEMORY = 2.5, 5.0  # at 3 layers


def build(num_layers: int) -> CausalLmDecoder:
    """Make the decoder; a fixed draw."""
    torch.manual_seed(0)
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 1408,
        "num_hidden_layers": num_layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }
    return CausalLmConfig(config=sizes).build(word_tokenizer(["a"], max_vocab=8)).train()


def batch(rows: int, length: int, answer: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make visual positions, ids, mask and labels; the rows differ in length."""
    generator = torch.Generator().manual_seed(1)
    visual = 0.02 * torch.randn(rows, PREFIX, WIDTH, generator=generator)
    ids = torch.randint(0, VOCABULARY, (rows, length - PREFIX), generator=generator)
    mask = torch.ones(rows, length, dtype=torch.long)
    labels = torch.full((rows, length), IGNORED)
    for row in range(rows):
        end = length - row % 4
        mask[row, end:] = 0
        labels[row, end - answer : end] = ids[row, end - answer - PREFIX : end - PREFIX]
    return visual, ids, mask, labels


def status(field: str) -> float:
    """Return a field of this process's memory in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 2**10
    raise KeyError(field)


def peak_of(work: Callable[[], object]) -> float:
    """Return the peak memory of `work` beyond what is there now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before = status("VmRSS")
    work()
    return status("VmHWM") - before


def compare(num_layers: int, rows: int, length: int, answer: int, repeats: int) -> float:
    """Print the times of both; return the peer's whole step as a multiple of ours."""
    decoder = build(num_layers)
    model = decoder.causal_lm
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-5, fused=True)
    visual, ids, mask, labels = batch(rows, length, answer)

    def inputs() -> Tensor:
        return torch.cat((visual, decoder.embed(ids)), dim=1)

    def ours() -> Tensor:
        hidden = decoder(inputs(), mask).hidden_states
        loss, count = causal_lm_loss(decoder.project, hidden, labels)
        return loss / count

    def theirs() -> Tensor:
        output = model(inputs_embeds=inputs(), attention_mask=mask, labels=labels, use_cache=False)
        loss: Tensor = output.loss
        return loss

    def step(loss: Callable[[], Tensor]) -> tuple[float, float]:
        start = time.perf_counter()
        loss().backward()
        both_ways = time.perf_counter() - start
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        return both_ways, time.perf_counter() - start

    torch.testing.assert_close(ours(), theirs(), rtol=1e-5, atol=0.0)
    ways = {"ours": ours, "transformers": theirs}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, loss in ways.items():
            seconds = step(loss)
            if turn:  # the first is warm-up
                times[name].append(seconds)
    print(f"{num_layers:2} layers, {rows} x {length} positions, {answer} labelled a row")
    ratio = 0.0
    for place, what in enumerate(("forward and backward", "with AdamW")):
        mine, other = (
            statistics.median(each[place] for each in times[name])
            for name in ("ours", "transformers")
        )
        ratio = other / mine
        print(f"   {what:20} ours {mine:5.2f} s, transformers {other:5.2f} s, {ratio:.2f}x",
              flush=True)  # fmt: skip
    return ratio


def child(kind: str, rows: int, length: int, answer: int) -> None:
    """Print the MiB that one side's projection and loss take."""
    decoder = build(1)
    model = decoder.causal_lm
    labels = batch(rows, length, answer)[3]
    hidden = torch.randn(rows, length, WIDTH)

    def head(labels: Tensor, hidden: Tensor) -> None:
        leaf = hidden.clone().requires_grad_()
        if kind == "ours":
            total, count = causal_lm_loss(decoder.project, (leaf,), labels)
            loss = total / count
        else:
            logits = model.lm_head(leaf)
            loss = model.loss_function(logits=logits, labels=labels, vocab_size=VOCABULARY)
        torch.autograd.grad(loss, leaf)

    head(labels[:1, :24].clone().fill_(1), hidden[:1, :24])  # libraries warm up
    print(peak_of(lambda: head(labels, hidden)))


def measure(kind: str, arguments: argparse.Namespace) -> float:
    """Run `child` in a process that gives freed memory back at once."""
    sizes = [f"--{name}={getattr(arguments, name)}" for name in ("rows", "length", "answer")]
    done = subprocess.run(
        [sys.executable, __file__, "--child", kind, *sizes],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=96, help="positions a row, visual included")
    parser.add_argument("--answer", type=int, default=8, help="labelled positions a row")
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 12])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sizes = (arguments.rows, arguments.length, arguments.answer)
    if arguments.child:
        child(arguments.child, *sizes)
        return
    print(f"torch {torch.__version__}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    ours, peer = (measure(kind, arguments) for kind in ("ours", "transformers"))
    print(f"memory for logits: ours {ours:.0f} MiB, transformers {peer:.0f} MiB, "
          f"{peer / ours:.1f}x (target {TARGET_MEMORY:g}x)", flush=True)  # fmt: skip
    for num_layers in arguments.layers:
        compare(num_layers, *sizes, arguments.repeats)
    print(f"target at 3 layers: {TARGET_TIME}x")


if __name__ == "__main__":
    main()
