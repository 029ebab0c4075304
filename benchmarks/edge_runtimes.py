r"""Exported models in torch, ONNX Runtime, OpenVINO and ExecuTorch, and SmolVLM-256M in torch.

python benchmarks/edge_runtimes.py [MODELS EXPORTED]

MODELS (default: models) has the folders align and vlm_qa of the pipeline, EXPORTED what `edge-glass
export onnx` wrote of them; without it they are exported first. A runtime that is not installed is
left out. ExecuTorch's programs are exported first too, which takes some minutes; docs/edge.md has
the command that installs it.

Each runtime has a process of its own, with one thread. The processes take turns, and only one works
at a time. Figures are medians of the process's CPU time, which a busy machine changes little.
`load` includes imports. `first token` is from pixels to the logits of the first word, with a short
question; `next token` is one more word. The largest difference is that of an image's embedding, or
of the logits of the first word, from torch, for one image.

SmolVLM-256M has random weights in float32. Its config is transformers' SmolVLMConfig with the sizes
of HuggingFaceTB/SmolVLM-256M-Instruct: vision of 12 layers, width 768, 12 heads, intermediate 3072,
one image of 512 pixels in patches of 16, pixel shuffle by 4, so 64 visual tokens; text of 30
layers, width 576, 9 heads, 3 for keys and values, intermediate 1536, vocabulary 49280.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

import numpy as np
from edge_parts import PARTS, example, load_exported, load_torch

ROUNDS, NUM_NEXT, SMOLVLM_ROUNDS = 11, 8, 3
RUNTIMES = ("torch", "ONNX Runtime fp32", "ONNX Runtime int8", "OpenVINO fp32", "OpenVINO int8")
EXECUTORCH, SMOLVLM = "ExecuTorch XNNPACK", "SmolVLM-256M, torch"


class Parts:
    """A model's parts in one runtime; each method returns what it computed."""

    def __init__(self, model: str, runtime: str, models: Path, exported: Path, lowered: Path):
        if runtime == "torch":
            self.parts = load_torch(model, models)
        elif runtime == EXECUTORCH:
            self.parts = load_exported(model, lowered, "fp32", False)
        else:
            precision = runtime.rpartition(" ")[2]
            self.parts = load_exported(model, exported, precision, runtime.startswith("OpenVINO"))
        self.model, self.values = model, example(model, exported)

    def image(self) -> Any:
        if self.model == "align":
            return self.parts["vision_model"](self.values)["image_embeds"]
        self.visual = self.parts["prefix"](self.parts["vision"](self.values))
        return self.visual["visual"]

    def text(self) -> Any:
        return self.parts["text_model"](self.values)["text_embeds"]

    def first(self) -> Any:
        self.image()
        self.found = self.parts["prefill"]({**self.visual, "input_ids": self.values["input_ids"]})
        return self.found["logits"]

    def next(self) -> Any:
        past = {k.replace("present_", "past_"): v for k, v in self.found.items() if k != "logits"}
        word = np.array([[3]], np.int64)
        self.found = self.parts["decode"]({**self.visual, **past, "input_ids": word})
        return self.found["logits"]


class SmolVlm:
    """SmolVLM-256M with random weights: the first image and prompt, then word by word."""

    def __init__(self) -> None:
        import torch
        from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

        torch.set_num_threads(1)
        torch.manual_seed(0)
        config = SmolVLMConfig(
            vision_config={
                "hidden_size": 768,
                "intermediate_size": 3072,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "image_size": 512,
                "patch_size": 16,
            },
            text_config={
                "model_type": "llama",
                "hidden_size": 576,
                "intermediate_size": 1536,
                "num_hidden_layers": 30,
                "num_attention_heads": 9,
                "num_key_value_heads": 3,
                "vocab_size": 49280,
                "max_position_embeddings": 8192,
                "pad_token_id": 2,
            },
            scale_factor=4,
            image_token_id=49190,
            pad_token_id=2,
            tie_word_embeddings=False,  # 256 million parameters, as the published model has
        )
        self.torch, self.network = torch, SmolVLMForConditionalGeneration(config).eval()
        self.size = 4 * sum(each.numel() for each in self.network.parameters())
        self.pixels = torch.zeros(1, 1, 3, 512, 512)
        self.ids = torch.tensor([[1, *[49190] * 64, *range(100, 110)]])

    def image(self) -> Any:
        with self.torch.inference_mode():
            self.network.model.get_image_features(self.pixels)

    def first(self) -> Any:
        with self.torch.inference_mode():
            self.found = self.network(
                input_ids=self.ids, pixel_values=self.pixels, use_cache=True, logits_to_keep=1
            )

    def next(self) -> Any:
        with self.torch.inference_mode():
            self.found = self.network(
                input_ids=self.torch.tensor([[100]]),
                past_key_values=self.found.past_key_values,
                use_cache=True,
            )


def work(pipe: Any, model: str, runtime: str, paths: tuple[Path, Path, Path]) -> None:
    """A process: loads a runtime, then does what the pipe asks for."""
    loaded: Any = SmolVlm() if runtime == SMOLVLM else Parts(model, runtime, *paths)
    pipe.send((time.process_time(), getattr(loaded, "size", 0)))
    while name := pipe.recv():
        start = time.process_time()
        found = getattr(loaded, name)()
        ms = 1000 * (time.process_time() - start)
        pipe.send((ms, None if found is None else np.asarray(found)))
    status = Path("/proc/self/status").read_text()
    pipe.send(int(status.partition("VmHWM:")[2].split()[0]) / 1000)


def size_of(model: str, runtime: str, paths: tuple[Path, Path, Path]) -> float:
    models, exported, lowered = paths
    if runtime == "torch":  # without the frozen text encoder, which is a Python package
        return sum(each.stat().st_size for each in (models / model).glob("*.safetensors"))
    if runtime == EXECUTORCH:
        return sum(each.stat().st_size for each in (lowered / model).glob("*/*.pte"))
    end = "_int8.onnx" if runtime.endswith("int8") else ".onnx"
    return sum((exported / model / "onnx" / (name + end)).stat().st_size for name in PARTS[model])


def measure(model: str, runtimes: list[str], paths: tuple[Path, Path, Path]) -> None:
    context = multiprocessing.get_context("spawn")
    pipes, processes, loads, sizes = {}, [], {}, {}
    for runtime in runtimes:
        pipes[runtime], other = context.Pipe()
        processes.append(context.Process(target=work, args=(other, model, runtime, paths)))
        processes[-1].start()
        loads[runtime], sizes[runtime] = pipes[runtime].recv()
        sizes[runtime] = sizes[runtime] or size_of(model, runtime, paths)
    steps = ("image", "text") if model == "align" else ("image", "first", *["next"] * NUM_NEXT)
    times: dict[tuple[str, str], list[float]] = {}
    found: dict[str, Any] = {}
    for number in range(ROUNDS + 1):
        for runtime in runtimes:
            if runtime == SMOLVLM and number > SMOLVLM_ROUNDS:  # a hundred times slower
                continue
            for step in steps:
                pipes[runtime].send(step)
                ms, result = pipes[runtime].recv()
                if number:  # the first is a warm-up
                    times.setdefault((runtime, step), []).append(ms)
                if step == ("image" if model == "align" else "first"):
                    found[runtime] = result
    names = list(dict.fromkeys(steps))
    heads = {"image": "ms per image", "text": "ms per caption", "first": "ms to first token"}
    heads["next"] = "ms per next token"
    print(f"\nmodels/{model}\n")
    columns = ["runtime", "size, MB", "load, s", *(heads[name] for name in names)]
    print("| " + " | ".join([*columns, "peak memory, MB", "largest difference"]) + " |")
    print("|---|" + "--:|" * (len(columns) + 1))
    for runtime in runtimes:
        pipes[runtime].send("")
        cells = [f"{sizes[runtime] / 1e6:.1f}", f"{loads[runtime]:.1f}"]
        measured = (times.get((runtime, name)) for name in names)
        cells += [f"{median(each):.1f}" if each else "" for each in measured]
        cells.append(f"{pipes[runtime].recv():.0f}")
        same = found[runtime] is not None
        cells.append(f"{np.abs(found[runtime] - found['torch']).max():.0e}" if same else "")
        print(f"| {runtime} | " + " | ".join(cells) + " |", flush=True)
    for process in processes:
        process.join()


def main() -> None:
    from edge_glass.fusion.export.formats import export_model

    models = Path(sys.argv[1] if len(sys.argv) > 1 else "models")
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(sys.argv[2] if len(sys.argv) > 2 else f"{scratch}/exported")
        if not exported.exists():
            for model in PARTS:
                export_model("onnx", models / model, exported / model)
        paths = (models, exported, Path(scratch))
        for model in PARTS:
            runtimes = [
                each
                for each in RUNTIMES
                if "OpenVINO" not in each or importlib.util.find_spec("openvino")
            ]
            if importlib.util.find_spec("executorch"):
                export_model("executorch", models / model, paths[2] / model)
                runtimes.append(EXECUTORCH)
            measure(model, runtimes + [SMOLVLM] * (model == "vlm_qa"), paths)


if __name__ == "__main__":
    main()
