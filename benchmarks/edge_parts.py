"""The parts of an exported model in each runtime, for `edge_runtimes.py`: from arrays to arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PARTS = {
    "align": ("vision_model", "text_model"),
    "vlm_qa": ("vision", "prefix", "prefill", "decode"),
}
Values = dict[str, Any]
Part = Callable[[Values], Values]


def torch_modules(model: str, models: Path) -> dict[str, tuple[Any, list[str], list[str]]]:
    """The modules that are exported, with names of inputs and outputs."""
    import torch

    torch.set_num_threads(1)
    if model == "align":
        from edge_glass.encoders.dual_encoder import DualEncoder
        from edge_glass.fusion.export.onnx_dual_encoder import TextModel, VisionModel

        dual: Any = DualEncoder.from_pretrained(models / model)
        texts = ["input_ids", "attention_mask"]
        return {
            "vision_model": (VisionModel(dual).eval(), ["pixel_values"], ["image_embeds"]),
            "text_model": (TextModel(dual, dual.text).eval(), texts, ["text_embeds"]),
        }
    from edge_glass.fusion.export.onnx_vlm import Decode, Prefill, Prefix, Step
    from edge_glass.fusion.vlm import VisionLanguageModel

    vlm: Any = VisionLanguageModel.from_pretrained(models / model)
    step = Step(vlm).eval()
    return {
        "vision": (vlm.vision_encoder, ["pixel_values"], ["features"]),
        "prefix": (Prefix(vlm).eval(), ["features"], ["visual", "prefix"]),
        "prefill": (Prefill(step).eval(), ["visual", "prefix", "input_ids"], ["logits"]),
        "decode": (Decode(step).eval(), ["visual", "input_ids", "past"], ["logits"]),
    }


def named(outputs: list[str], found: Any) -> Values:
    """Names what a module returned: after the known outputs come the cached tensors."""
    found = [found] if not isinstance(found, list | tuple) else list(found)
    extra = [f"present_{number}" for number in range(len(found) - len(outputs))]
    return dict(zip([*outputs, *extra], found, strict=True))


def load_torch(model: str, models: Path) -> dict[str, Part]:
    import torch

    def part(module: Any, inputs: list[str], outputs: list[str]) -> Part:
        def run(values: Values) -> Values:
            with torch.inference_mode():
                given = [values[name] for name in inputs if name in values]
                tensors = [torch.as_tensor(each) for each in given]
                if "past" in inputs:
                    numbers = range(sum(name.startswith("past_") for name in values))
                    tensors.append([values[f"past_{number}"] for number in numbers])
                return named(outputs, module(*tensors))

        return run

    return {name: part(*each) for name, each in torch_modules(model, models).items()}


def load_exported(model: str, folder: Path, precision: str, openvino: bool) -> dict[str, Part]:
    """Loads ONNX graphs or ExecuTorch's programs, by the names in the folder's config.json."""
    config = json.loads((folder / model / "config.json").read_text())
    paths = {name: folder / model / path for name, path in config["graphs"][precision].items()}
    if not openvino:
        from edge_glass.fusion.edge.folder import Graph

        return {name: Graph(path) for name, path in paths.items()}
    from openvino import Core

    core, options = Core(), {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}

    def part(path: Path) -> Part:
        compiled = core.compile_model(core.read_model(path), "CPU", options)
        names = [each.any_name for each in compiled.inputs]
        outputs = [each.any_name for each in compiled.outputs]

        def run(values: Values) -> Values:
            found = compiled({name: values[name] for name in names})
            return {name: found[name] for name in outputs}

        return run

    return {name: part(path) for name, path in paths.items()}


def example(model: str, exported: Path) -> Values:
    """Returns pixels of a drawn image, and ids of a short text."""
    from tokenizers import Tokenizer

    from edge_glass.encoders.towers.pixels import PixelTransform

    draws = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    image = Image.fromarray(draws).resize((300, 400))
    config = json.loads((exported / model / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(exported / model / config["text"]["tokenizer"]))
    tokenizer.no_padding()
    text = config["text"].get("before_question", "") + "What is in the top left?"
    text += config["text"].get("after_question", "")
    ids = np.array([tokenizer.encode(text, add_special_tokens=model == "align").ids])
    pixels = PixelTransform.from_data(config["image"]).pixels(image)[None]
    return {"pixel_values": pixels, "input_ids": ids, "attention_mask": np.ones_like(ids)}
