"""The format `peft`: the trained LoRA adapters of a decoder, as `PeftModel.from_pretrained` reads.

    edge-glass export peft models/vlm_qa OUT

The folder has `adapter_model.safetensors` and `adapter_config.json`. The base model is not in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.fusion.vlm import VisionLanguageModel


def write_folder(model: Path, folder: Path) -> None:
    """Writes the adapters of a vision-language model.

    Raises:
        ValueError: if the folder holds no vision-language model, or its decoder has no adapters.
    """
    decoder = VisionLanguageModel.from_pretrained(model, load_vision_encoder=False).decoder
    if not isinstance(decoder, CausalLmDecoder) or decoder.lora is None:
        raise ValueError(
            f"{model}: its decoder has no LoRA adapters; train it with the option lora"
        )
    adapted: Any = decoder.model
    adapted.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)  # peft's own card is an empty form
