"""The adapters of a decoder as a PEFT folder: peft loads it and computes the same logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.vlm import VisionLanguageModel

pytestmark = pytest.mark.filterwarnings(
    # peft uses a name that transformers 5.23 has deprecated, and asks for a base model on the hub
    "ignore:`is_gradient_checkpointing`:FutureWarning",
    "ignore:Could not find a config file:UserWarning",
)


def test_peft_loads_the_adapters(
    tiny_vlm: Callable[..., VisionLanguageModel], tmp_path: Path
) -> None:
    peft: Any = pytest.importorskip("peft")
    from transformers import Qwen2ForCausalLM

    base = tiny_vlm("qwen2_5_tiny", "concat")
    base.decoder.causal_lm.save_pretrained(tmp_path / "base")  # type: ignore[operator,union-attr]
    base.tokenizer.save_pretrained(tmp_path / "base")
    options = {"model": str(tmp_path / "base"), "lora": {"rank": 4, "dropout": 0.0}}
    model = tiny_vlm("qwen2_5_tiny", "concat", decoder_options=options)
    with torch.no_grad():
        for name, weight in model.decoder.named_parameters():
            if "lora_" in name:  # as training would
                weight.add_(0.05 * torch.randn_like(weight))
    model.save_pretrained(tmp_path / "model")
    export_model("peft", tmp_path / "model", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    loaded = peft.PeftModel.from_pretrained(
        Qwen2ForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "out"
    ).eval()
    ids = torch.tensor([[3, 5, 7, 9]])
    embeds, mask = model.decoder.embed(ids), torch.ones_like(ids)
    ours = model.decoder.project(model.decoder(embeds, mask).hidden_states[-1])
    plain = base.decoder.project(base.decoder(embeds, mask).hidden_states[-1])
    found = loaded(input_ids=ids).logits
    # the same float32 operations; only the mask is made in a different way
    torch.testing.assert_close(found, ours, rtol=0, atol=1e-5)
    assert (ours - plain).abs().max() > 1e-3  # the adapters change the logits


def test_a_decoder_without_adapters_is_refused(vlm_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="its decoder has no LoRA adapters"):
        export_model("peft", vlm_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
