"""The same questions unpacked, one row each: Transformers + peft (+ Liger), and TRL.

The peers get the same lengths: as many embeddings in front of each question as the image has
visual tokens. Transformers gets them as random embeddings with a gradient, as from a projector.
TRL trains on token ids, so it gets random tokens in their place.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from gpu_parts.project import Size, load

IGNORED = -100


def rows(scratch: Path, size: Size) -> list[tuple[list[int], list[int]]]:
    """Returns ids and labels of the questions of one batch's images, one question each."""
    from edge_glass.training.engine.processes import Processes
    from edge_glass.training.features.cache import read_index
    from edge_glass.training.vlm_qa.training_data import read_training_data

    with chdir(scratch / "questions"):
        samples = read_training_data(load(scratch, size), read_index(), Processes()).samples
    found = []
    for sample in (samples[number] for number in range(size.microbatch)):
        for segment in sorted(set(sample.segment_ids)):
            places = [at for at, each in enumerate(sample.segment_ids) if each == segment]
            found.append(
                ([sample.input_ids[at] for at in places], [sample.labels[at] for at in places])
            )
    return found


def loaded(scratch: Path, size: Size, *, adapters: bool) -> Any:
    """Returns the model as Transformers loads it, with peft's adapters if wanted."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(
        scratch / "large", dtype=getattr(torch, size.dtype), device_map={"": size.device}
    )
    if not adapters:
        return model
    from peft import get_peft_model

    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return get_peft_model(model, lora(size)).train()


def lora(size: Size) -> Any:
    """Returns the adapters of the recipe as peft's config."""
    from peft import LoraConfig

    from edge_glass.decoders.lora import LoraOptions

    options = LoraOptions()
    return LoraConfig(
        r=size.lora_rank, lora_alpha=options.alpha, lora_dropout=options.dropout,
        target_modules=list(options.target_modules), task_type="CAUSAL_LM",
    )  # fmt: skip


def transformers(scratch: Path, size: Size, *, images: int) -> dict[str, Any]:
    """Transformers + peft (+ Liger): questions per second and peak memory.

    As many questions at once as a microbatch has images, or all five of each of them.
    """
    import torch

    liger = importlib.util.find_spec("liger_kernel") is not None and size.device == "cuda"
    if liger:
        from liger_kernel.transformers import apply_liger_kernel_to_qwen2

        apply_liger_kernel_to_qwen2()
    every, device = rows(scratch, size), torch.device(size.device)
    model = loaded(scratch, size, adapters=True)
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    prefix = (size.image_size // 14) ** 2
    longest = max(len(ids) for ids, _ in every)
    width = model.get_input_embeddings().weight.shape[1]
    at_once = images * size.microbatch
    visual = 0.02 * torch.randn(at_once, prefix, width, device=device)
    visual = visual.to(model.dtype).requires_grad_()

    def tensor(values: list[list[int]], fill: int) -> Any:
        padded = [[*each, *[fill] * (longest - len(each))] for each in values]
        return torch.tensor(padded, device=device)

    def step() -> float:
        synchronize(device)
        start = time.perf_counter()
        for first in range(0, len(every), at_once):
            part = every[first : first + at_once]
            ids = tensor([each for each, _ in part], 0)
            labels = tensor([each for _, each in part], IGNORED)
            front = torch.full((len(part), prefix), IGNORED, device=device)
            mask = tensor([[1] * len(each) for each, _ in part], 0)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                embeds = torch.cat((visual[: len(part)], model.get_input_embeddings()(ids)), 1)
                output = model(
                    inputs_embeds=embeds,
                    attention_mask=torch.cat((torch.ones_like(front), mask), 1),
                    labels=torch.cat((front, labels), 1),
                    use_cache=False,
                )
            output.loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        visual.grad = None
        synchronize(device)
        return time.perf_counter() - start

    step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median(step() for _ in range(3))
    text = sum(len(ids) for ids, _ in every)
    return {
        "liger": liger, "questions_per_second": len(every) / seconds,
        "text_tokens_per_second": text / seconds, "peak_gb": peak(device), "at_once": at_once,
    }  # fmt: skip


def trl(scratch: Path, size: Size) -> dict[str, Any]:
    """TRL's SFTTrainer: questions per second and peak memory."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    every, device = rows(scratch, size), torch.device(size.device)
    prefix = [1] * (size.image_size // 14) ** 2
    data = Dataset.from_list(
        [
            {"input_ids": prefix + ids, "labels": [IGNORED] * len(prefix) + labels}
            for ids, labels in every * 4
        ]
    )
    from edge_glass.decoders.model_source import find_source
    from edge_glass.decoders.pretrained import load_tokenizer

    trainer = SFTTrainer(
        model=loaded(scratch, size, adapters=False),
        args=SFTConfig(
            output_dir=str(scratch / "trl"), max_steps=4, report_to=[], save_strategy="no",
            per_device_train_batch_size=size.microbatch, gradient_checkpointing=True,
            gradient_accumulation_steps=max(1, len(every) // size.microbatch),
            bf16=device.type == "cuda", use_cpu=device.type == "cpu", max_length=None,
            optim="adamw_torch_fused",
            dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False,
            disable_tqdm=True,
        ),
        train_dataset=data, peft_config=lora(size),
        processing_class=load_tokenizer(find_source(str(scratch / "large"), None)),
    )  # fmt: skip
    result = trainer.train()
    seconds = result.metrics["train_runtime"] / 4
    return {"questions_per_second": len(every) / seconds, "peak_gb": peak(device)}


def synchronize(device: Any) -> None:
    """Waits for the GPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def peak(device: Any) -> float:
    """Returns the peak memory of this process in GB."""
    from edge_glass.training.loop.speed import peak_memory

    return peak_memory(device)
