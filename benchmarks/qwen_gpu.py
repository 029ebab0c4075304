"""A LoRA step on a Qwen2.5-7B-size random model, bf16 and 4 bit: ours against Transformers + peft.

Run:    python benchmarks/qwen_gpu.py            (a GPU with 40 GB, 16 GB of disk)
        python benchmarks/qwen_gpu.py --tiny     (any machine: that the script works, no figures)
Needs:  edge-glass-decoders[lora,quantization], edge-glass-training

Without a GPU it says so and stops. The weights are drawn at random and saved to a temporary folder,
from which each precision is loaded as from the hub. Both sides take the same weights, adapters
(rank 64) and batch, with gradient checkpointing and bf16 autocast; ours projects the labelled
positions alone, the peer's `labels=` every position. Tokens/s count all positions.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.lora import LoraOptions
from edge_glass.decoders.quantization import Quantization
from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.fusion.prompt import IGNORED
from edge_glass.training.vlm_qa.answer_loss import causal_lm_loss

QWEN2_5_7B = {  # sizes of Qwen/Qwen2.5-7B-Instruct
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
PREFIX = 64


def save_random(folder: Path, config: dict[str, Any], device: torch.device) -> None:
    """Write a random model as the hub would hold it."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            model = Qwen2ForCausalLM(Qwen2Config(**config))
    finally:
        torch.set_default_dtype(default)
    model.save_pretrained(folder)
    word_tokenizer(["a"], max_vocab=8).save_pretrained(folder)


def compare(
    folder: Path, quantization: Quantization, device: torch.device, arguments: argparse.Namespace
) -> None:
    """Print time, tokens/s and peak memory of both sides in one precision."""
    options = CausalLmConfig(
        model=str(folder),
        dtype="bfloat16",
        quantization=quantization,
        lora=LoraOptions(dropout=0.0),
        gradient_checkpointing=True,
    )
    decoder = options.build(word_tokenizer(["a"], max_vocab=8)).to(device).train()
    optimizer = torch.optim.AdamW(
        [each for each in decoder.parameters() if each.requires_grad], lr=1e-4, fused=True
    )
    rows, length = arguments.rows, arguments.length
    generator = torch.Generator().manual_seed(1)
    visual = 0.02 * torch.randn(rows, PREFIX, decoder.width, generator=generator)
    # as from a projector that trains: checkpointing needs an input with gradient
    visual = visual.to(device, torch.bfloat16).requires_grad_()
    ids = torch.randint(0, decoder.vocab_size, (rows, length - PREFIX), generator=generator)
    labels = torch.full((rows, length), IGNORED)
    labels[:, -arguments.answer :] = ids[:, -arguments.answer :]
    ids, labels = ids.to(device), labels.to(device)
    mask = torch.ones(rows, length, dtype=torch.long, device=device)

    def inputs() -> Tensor:
        return torch.cat((visual, decoder.embed(ids)), dim=1)

    def ours() -> Tensor:
        hidden = decoder(inputs(), mask).hidden_states
        loss, count = causal_lm_loss(decoder.project, hidden, labels)
        return loss / count

    def theirs() -> Tensor:
        model: Any = decoder.model
        output = model(inputs_embeds=inputs(), attention_mask=mask, labels=labels, use_cache=False)
        loss: Tensor = output.loss
        return loss

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def step(loss: Callable[[], Tensor]) -> float:
        synchronize()
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16):
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        visual.grad = None
        synchronize()
        return time.perf_counter() - start

    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        # bf16 logits are rounded to 8 bits: 12 in size, a mean over the labelled ones
        torch.testing.assert_close(ours().float(), theirs().float(), rtol=1e-2, atol=0.0)
    found = {}
    for name, loss in (("ours", ours), ("transformers + peft", theirs)):
        step(loss)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = statistics.median(step(loss) for _ in range(arguments.repeats))
        peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
        found[name] = (seconds, peak)
        print(f"   {name:20} {seconds * 1e3:8.0f} ms  {rows * length / seconds:8.0f} tokens/s  "
              f"{peak:6.2f} GiB", flush=True)  # fmt: skip
    (mine, my_peak), (other, other_peak) = found.values()
    print(f"   time {other / mine:.2f}x, memory {other_peak / my_peak:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a tiny model on any machine")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=512, help="positions, visual included")
    parser.add_argument("--answer", type=int, default=32, help="labelled positions a row")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    if not (arguments.tiny or torch.cuda.is_available()):
        print("qwen_gpu: skipped, there is no GPU here (--tiny shows that the script works)")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = {**QWEN2_5_7B, **(TINY if arguments.tiny else {})}
    if arguments.tiny:
        arguments.rows, arguments.length, arguments.answer, arguments.repeats = 1, 96, 4, 1
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"torch {torch.__version__}, {where}, {arguments.rows} x {arguments.length} positions, "
          f"{arguments.answer} labelled a row")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        save_random(Path(scratch), config, device)
        precisions: tuple[Quantization, ...] = ("none", "4bit")
        for quantization in precisions:
            print("bf16" if quantization == "none" else "4 bit (NF4, double quantisation)")
            compare(Path(scratch), quantization, device, arguments)


if __name__ == "__main__":
    main()
